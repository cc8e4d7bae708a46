"""Stand-ins of the data sets that the paper's authors released, in their published form."""

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from stand_in_data import told_again

FT = (
    "all", "auto-wiki-nli", "auto-wiki-qa-nemotron", "janli", "jaquad", "jqara", "jsnli", "jsquad", "miracl", "mkqa",
    "mr-tydi", "nu-mnli", "nu-snli", "quiz-no-mori", "quiz-works", "snow",
)  # fmt: skip
PT = (
    "mqa", "wiki-qa", "wiki-summary-title2text", "wiki-summary-text2text", "wiki-para-title2text",
    "wiki-para-text2text", "jawiki-paragraphs1", "jawiki-hyperlinks", "ihyoki", "word-ja-definitions",
    "wordnet-ja-synonyms", "wordnet-ja-same-synsets",
)  # fmt: skip
_ROWS = [
    (
        "灯台はどこに立つか",
        "灯台は岬に立つ。夜に光る。",
        ["港に船が着く。", "塩は海から採れる。", "橋は石でできている。"],
    ),
    (
        "和紙は何から作るか",
        "和紙は木の皮から作る。千年もつ。",
        ["漆は樹液である。", "墨は煤から作る。", "筆は毛で作る。"],
    ),
    ("耳川の長さは", "耳川は三十里を流れる。海に出る。", ["山は高い。", "湖は深い。", "砂丘は風が作る。"]),
]
_TEXT, _TEXTS = pa.string(), pa.list_(pa.string())


def rows_of(first: int, count: int, **more: Any) -> list[dict[str, Any]]:
    """`count` rows with the columns of all of them, and more; equal numbers are equal rows."""
    rows = []
    for number in range(first, first + count):
        anchor, positive, negatives = told_again(list(_ROWS[number % len(_ROWS)]), number)
        score = [0.9, *[0.1] * len(negatives)]
        rows.append({"anc": anchor, "pos": positive, "neg": negatives, "source": "stand-in", "score": score, **more})
    return rows


def write_released(hub: Path, rows: int) -> None:
    """The three data sets below `hub`, `rows` of each configuration, none of them twice."""
    scored = pa.schema({"anc": _TEXT, "pos": _TEXT, "neg": _TEXTS, "score": pa.list_(pa.float64()), "source": _TEXT})
    unscored = scored.set(3, pa.field("score", pa.null()))
    plain = pa.schema({"anc": _TEXT, "source": _TEXT, "pos": _TEXT, "neg": _TEXTS})
    numbers = iter(range(1, 100_000, rows))
    ft = {}
    for name in FT:
        is_inference = name in ("auto-wiki-nli", "janli", "jsnli", "nu-mnli", "nu-snli", "snow")
        made = rows_of(next(numbers), rows, **({"score": None} if is_inference else {}))
        ft[name] = {"train": pa.Table.from_pylist(made, schema=unscored if is_inference else scored)}
    _write(hub / "cl-nagoya/ruri-dataset-ft", ft)
    stages = {name: {"train": rows_of(next(numbers), rows)} for name in ("stage1", "stage2")}
    stages["stage2"]["test"] = rows_of(next(numbers), rows)
    _write(hub / "cl-nagoya/ruri-dataset-reranker", _tables(stages, plain))
    pt = {name: {"train": rows_of(next(numbers), rows)} for name in PT}
    _write(
        hub / "cl-nagoya/ruri-dataset-v2-pt", _tables(pt, pa.schema([plain.field(n) for n in ("anc", "pos", "neg")]))
    )


def _tables(rows: dict[str, dict[str, list]], schema: pa.Schema) -> dict[str, dict[str, pa.Table]]:
    return {name: {split: pa.Table.from_pylist(some, schema=schema) for split, some in splits.items()}
            for name, splits in rows.items()}  # fmt: skip


def _write(folder: Path, configurations: dict[str, dict[str, pa.Table]]) -> None:
    """Parquet by configuration and split, with the card that names them."""
    card: dict[str, list] = {"configs": [], "dataset_info": []}
    for name, splits in configurations.items():
        (folder / name).mkdir(parents=True)
        for split, table in splits.items():
            pq.write_table(table, folder / name / f"{split}-00000-of-00001.parquet")
        files = [{"split": split, "path": f"{name}/{split}-*"} for split in splits]
        card["configs"].append({"config_name": name, "data_files": files})
        counts = [{"name": split, "num_examples": table.num_rows} for split, table in splits.items()]
        card["dataset_info"].append({"config_name": name, "splits": counts})
    # YAML holds JSON.
    (folder / "README.md").write_text(f"---\n{json.dumps({'configs': card['configs']})}\n---\n", "utf-8")
    (folder / "card.json").write_text(json.dumps(card), "utf-8")
