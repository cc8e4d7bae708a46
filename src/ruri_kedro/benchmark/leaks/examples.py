"""What the tests know of the examples that were trained on: their own texts are searched, whatever was left out before.

Anchors, positives and negatives are looked at, and so are mined positives: all of them are columns of the examples.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from itertools import chain
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ruri_kedro.benchmark.leaks.contamination import find_leaks
from ruri_kedro.benchmark.leaks.matches import BenchmarkTexts, LeakRules, find_matches
from ruri_kedro.tables import Table
from ruri_kedro.tables.ids import Ids, among, distinct_ids
from ruri_kedro.tables.lookup import texts_among

_COLUMNS = ["split", "example_id", "anchor", "positive", "negatives"]


def example_leaks(
    passages: Table, test_texts: Table, examples: Mapping[str, Table], rules: LeakRules
) -> dict[str, dict[str, Any]]:
    """By stage of `examples`: how many training examples there are, how many of them leak, and by which part.

    An example leaks where its texts would have removed a pair (`contamination.is_removed`). `unsearched` are examples
    with a text that the passages do not have any more.
    """
    used = distinct_ids(chain.from_iterable(map(_docids, _trained(table)) for table in examples.values()))
    # Passages of a test's collection are reported only, and may be millions.
    tests = BenchmarkTexts(lambda: (row for row in test_texts.iter_rows() if row["role"] != "passage"), rules)
    matches = list(find_matches(lambda: texts_among(passages, used), tests, rules.min_chars))
    matched = distinct_ids([[match["docid"] for match in matches]])
    present = distinct_ids(_present(passages, used))
    return {stage: _counts(table, matches, matched, np.setdiff1d(used, present)) for stage, table in examples.items()}


def _counts(table: Table, matches: Iterable[Mapping], matched: Ids, unknown: Ids) -> dict[str, Any]:
    """The figures of a stage. Only examples with a text that matches are looked at one by one."""
    count = unsearched = 0
    suspects: list[dict] = []
    for batch in _trained(table):
        count += batch.num_rows
        unsearched += int(_with_any(batch, unknown).sum())
        suspects += batch.filter(pa.array(_with_any(batch, matched))).to_pylist()
    pairs = ({**row, "pair_id": row["example_id"], "given_negatives": row["negatives"]} for row in suspects)
    leaked = {(leak["pair_id"], leak["part"]) for leak in find_leaks(pairs, matches) if leak["removed"]}
    parts = Counter(part for _, part in leaked)
    return {
        "examples": count,
        "leaked": len({example for example, _ in leaked}),
        "parts": dict(sorted(parts.items())),
        "unsearched": unsearched,
    }


def _trained(table: Table) -> Iterator[pa.RecordBatch]:
    """The examples of training; those of validation were not trained on."""
    for batch in table.batches(columns=_COLUMNS):
        yield batch.filter(pc.equal(batch.column("split"), "train"))


def _docids(batch: pa.RecordBatch) -> list[str]:
    """The docids of all texts of the examples."""
    sides = [batch.column(name) for name in ("anchor", "positive")]
    return [docid for column in (*sides, batch.column("negatives").flatten()) for docid in column.to_pylist()]


def _with_any(batch: pa.RecordBatch, docids: Ids) -> np.ndarray:
    """Which of the examples have one of the docids, (rows,) of bool."""
    found = np.zeros(batch.num_rows, dtype=bool)
    for name in ("anchor", "positive"):
        found |= among(batch.column(name).to_pylist(), docids)
    negatives = batch.column("negatives")
    owners = pc.list_parent_indices(negatives).to_numpy()
    found[owners[among(negatives.flatten().to_pylist(), docids)]] = True
    return found


def _present(passages: Table, used: Ids) -> Iterator[list[str]]:
    """The docids of the passages that are used, batch by batch."""
    for batch in passages.batches(columns=["docid"]):
        docids = np.array(batch.column("docid").to_pylist(), dtype=object)
        yield docids[among(docids.tolist(), used)].tolist()
