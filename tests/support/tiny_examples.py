"""A training set of eight rows on the tiny texts."""

from tiny import TEXTS

from ruri_kedro.models.tokens import tokenize
from ruri_kedro.training.data import assemble


def examples(objective="contrastive", negatives=None):
    """8 rows with 0 to 2 negatives, or all with as many as asked for."""
    ids = {text: str(i) for i, text in enumerate(TEXTS)}
    rows = [
        {
            "example_id": f"e{i}",
            "query_id": f"q{i}",
            "source": "s",
            "objective": objective,
            "anchor": ids[TEXTS[i]],
            "positive": ids[TEXTS[i + 10]],
            "negatives": [ids[TEXTS[(i * 3 + k) % 10 + 24]] for k in range(i % 3 if negatives is None else negatives)],
            "shuffled": False,
            "label": float(i % 4),
        }
        for i in range(8)
    ]
    return rows, {value: key for key, value in ids.items()}


def training_set(model, prompts=("クエリ: ", "文章: "), special=True, **kwargs):
    rows, texts = examples(**kwargs)
    teacher = {(r["query_id"], d): float(int(d) % 7) for r in rows for d in (r["positive"], *r["negatives"])}
    length = 32 if special else None
    return assemble(rows, texts, prompts, lambda found: tokenize(model.tokenizer, found, length, special), teacher)
