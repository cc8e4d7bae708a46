"""The profile's figures, against those of plain lists."""

import numpy as np
import pytest

from ruri_kedro.corpora.profile import profile_tables
from ruri_kedro.corpora.source import parse_sources
from ruri_kedro.tables import SCHEMAS, Part, store, write_table


def tables(root, lengths, pairs, leaks):
    """Tables of one source: texts of these lengths, (split, negatives) of pairs, (pair, removed) of leaks."""
    rows = {
        "passages": [{"docid": str(n), "source": "s", "title": "", "section": "", "text": "山" * size}
                     for n, size in enumerate(lengths)],
        "pairs": [{"pair_id": f"p{n}", "query_id": "", "source": "s", "split": split, "anchor": "", "positive": "",
                   "given_negatives": ["d"] * count, "answers": [], "origin": "given"}
                  for n, (split, count) in enumerate(pairs)],
        "leaks": [{"pair_id": pair, "part": "anchor", "docid": "d", "test": f"t{n}", "role": "query", "item_id": "",
                   "kind": "exact", "overlap": 1.0, "removed": removed} for n, (pair, removed) in enumerate(leaks)],
        "inconsistent": [],
    }  # fmt: skip
    return [write_table(root / name, SCHEMAS[name], {"s": Part("", lambda of=of: [of])}) for name, of in rows.items()]


def test_the_papers_counts_stand_beside_the_pairs(tmp_path):
    part = {"negatives": "given", "expected_rows": 1200}
    stages = {"pretraining": part, "finetuning": [part, part | {"objective": "distillation"}]}
    given = {"kind": "edit", "path": "s.jsonl"}
    made = tables(tmp_path, [3], [("train", 0)], [])
    (row,) = profile_tables(*made, parse_sources({"s": given | {"stages": stages}})).to_dict("records")
    assert row["expected_rows"] == "pretraining 1,200; finetuning 2,400"
    (row,) = profile_tables(*made, parse_sources({"s": given})).to_dict("records")
    assert row["expected_rows"] == ""


@pytest.mark.parametrize("count", [0, 1, 2, 7, 100])
def test_lengths_and_counts_are_those_of_plain_lists(tmp_path, monkeypatch, count):
    monkeypatch.setattr(store, "SHARD_ROWS", 9)  # several batches
    rng = np.random.default_rng(count)
    lengths = rng.integers(0, 60, count).tolist()
    pairs = [(str(rng.choice(["train", "validation"])), int(rng.integers(3))) for _ in range(count)]
    leaks = [(f"p{n}", bool(rng.integers(2))) for n in range(count) for _ in range(rng.integers(3))]
    (row,) = profile_tables(*tables(tmp_path, lengths, pairs, leaks)).to_dict("records")
    removed = {pair for pair, is_removed in leaks if is_removed}
    expected = {
        "passages": count,
        "train_pairs": sum(split == "train" for split, _ in pairs),
        "validation_pairs": sum(split == "validation" for split, _ in pairs),
        "with_negatives": sum(negatives > 0 for _, negatives in pairs),
        "leaks_removed": len(removed),
        "leaks_reported": len({pair for pair, _ in leaks} - removed),
        "chars_median": pytest.approx(np.median(lengths) if lengths else 0),
        "chars_p95": pytest.approx(np.percentile(lengths, 95) if lengths else 0),
    }
    assert {name: row[name] for name in expected} == expected
