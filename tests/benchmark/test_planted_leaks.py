"""Leaks that were planted are found, and hardly anything else is removed."""

import random

from planted import plant, search

from ruri_kedro.benchmark.tasks import load as tasks

SPEC = {"type": "retrieval", "shape": "qa"}


def test_a_thousand_leaks_of_jsquad_and_jsts_planted_in_jaquad(shared_data):
    jsquad = tasks.load_task("jsquad", {**SPEC, "path": "ja/jsquad/valid.jsonl.gz"}, shared_data)
    jsts = tasks.load_task("jsts", {"type": "sts", "path": "ja/jsts/valid.jsonl.gz"}, shared_data)
    jaquad = tasks.load_task("jaquad", {**SPEC, "path": "ja/jaquad/train.jsonl.gz"}, shared_data)
    rows = [row for task in (jsquad, jsts) for row in tasks.test_texts(task)]
    pairs = [(jaquad.queries[qid], jaquad.corpus[docid]) for qid, known in jaquad.qrels.items() for docid in known]
    planted = plant(sorted({row["text"] for row in rows}), list(jaquad.corpus.values()), 1000, seed=7)
    found = search(planted, pairs, rows)
    assert found.shares["exact"] == found.shares["embedded"] == 1, found.missed
    assert found.shares["edited"] >= 0.9, found.missed
    assert len(found.removed) < 0.005 * len(pairs), found.removed


def test_leaks_planted_in_made_up_text():
    draw = random.Random(7)
    alphabet = [chr(code) for code in range(0x4E00, 0x5200)] + list("ァイウabc0123、。") * 20
    texts = ["".join(draw.choices(alphabet, k=draw.randrange(20, 220))) for _ in range(900)]
    rows = [
        {"test": "t", "role": ("query", "text", "passage")[number % 3], "item_id": str(number), "text": text}
        for number, text in enumerate(texts[:300])
    ]
    pairs = list(zip(texts[300:600], texts[600:], strict=True))
    found = search(plant(texts[:300], texts[600:], 150, seed=3), pairs, rows)
    assert found.shares["exact"] == found.shares["embedded"] == 1, found.missed
    assert found.shares["edited"] >= 0.9, found.missed
    assert found.removed == []
