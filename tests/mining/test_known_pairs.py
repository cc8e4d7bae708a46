"""Pairs in shards, against all pairs of a source in memory; what is chosen in shards, against one shard."""

import random

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from whole_source import whole_source

from ruri_kedro.corpora.source import parse_sources
from ruri_kedro.mining.known import KnownPairs
from ruri_kedro.pipelines.negative_mining import nodes
from ruri_kedro.tables import SCHEMAS, Part, write_table
from ruri_kedro.tables.ids import distinct_ids
from ruri_kedro.tables.lookup import passage_texts
from ruri_kedro.text.hashing import stable_id

STRATEGIES = ("bm25", "random", "given")
SOURCES = {
    "s": {
        "kind": "question_to_passage",
        "path": "s.jsonl",
        "stages": {"finetuning": [{"negatives": name, "objective": name_of} for name, name_of in
                                  zip(STRATEGIES, ("contrastive", "distillation", "info_nce"), strict=True)]},
    }
}  # fmt: skip
MINING = {
    "depth": 8, "window": {"first": 2, "last": 6}, "mine_window": {"first": 1, "last": 8}, "max_mined": 2,
    "min_answer_chars": 1, "fill": True, "negatives": 3,
}  # fmt: skip
DOCUMENTS, QUERIES = 30, 17


@pytest.fixture(scope="module")
def tables(tmp_path_factory):
    """Queries that recur far apart, with held-out positives, leaks, answers and a question without a passage."""
    rng = random.Random(0)
    docids = [stable_id(f"d{i}") for i in range(DOCUMENTS)]
    texts = {docid: f"本文その{number % 25}は{number % 7}番" for number, docid in enumerate(docids)}  # some recur
    texts |= {stable_id(f"q{i}"): f"問い{i}" for i in range(QUERIES)}
    pairs = []
    for number in range(60):
        query = rng.randrange(QUERIES)
        pairs.append(
            {"pair_id": f"p{number}", "query_id": f"id-{query}", "source": "s", "anchor": stable_id(f"q{query}"),
             "split": "validation" if query % 5 == 4 else "train", "positive": rng.choice([*docids, ""]),
             "given_negatives": rng.sample(docids, 2), "answers": rng.choice([[], [f"{number % 7}番"]]),
             "origin": "given"}
        )  # fmt: skip
    candidates = [
        {"query_id": f"id-{query}", "source": "s", "collection": "s", "docids": rng.sample(docids, 8),
         "bm25_ranks": list(range(1, 9)), "bm25_scores": [1.0] * 8, "dense_ranks": [0] * 8, "dense_scores": [0.0] * 8,
         "positives": [], "positive_scores": []}
        for query in range(QUERIES)
    ]  # fmt: skip
    leaks = [
        {"pair_id": pair["pair_id"], "part": "pair", "docid": "x", "test": "t", "role": "pair", "item_id": "i",
         "kind": "exact", "overlap": 1.0, "removed": number % 2 == 0}
        for number, pair in enumerate(pairs[::9])
    ]  # fmt: skip
    passages = [{"docid": d, "source": "s", "title": "", "section": "", "text": text} for d, text in texts.items()]
    matches = [{"docid": docids[3], "test": "t", "role": "text", "item_id": "i", "kind": "exact", "overlap": 1.0}]
    rows = {"passages": passages, "pairs": pairs, "leaks": leaks, "matches": matches, "candidates": candidates}
    root = tmp_path_factory.mktemp("tables")
    return {
        name: write_table(root / name, SCHEMAS[name], {"s": Part("k", lambda made=made: [made[:40], made[40:]])})
        for name, made in rows.items()
    }


def test_shards_know_what_the_whole_source_knows(tables):
    (source,) = parse_sources(SOURCES).values()
    leaked = {row["pair_id"] for row in tables["leaks"].iter_rows() if row["removed"]}
    rows = [row for row in tables["pairs"].iter_rows() if row["pair_id"] not in leaked]
    whole = whole_source("s", rows, passage_texts(tables["passages"]))
    known = KnownPairs(
        source,
        tables["passages"],
        (tables["pairs"],),
        frozenset(leaked),
        distinct_ids([]),
        tables["candidates"],
        frozenset(),
        8,
        7,
        True,
    )
    shards = list(known.shards())
    assert [row for some in shards for row in some.pairs] == rows and len(shards) == 8
    for some in shards:
        assert all(whole.positives[query] == docids for query, docids in some.positives.items())
        assert {row["query_id"] for row in some.pairs} == set(some.positives) == set(some.candidates)
        assert list(some.pool) == whole.pool and len(some.held_out) == len(whole.held_out)
        assert all(key in some.held_out for key in whole.held_out)
        assert some.texts.items() <= whole.texts.items() and len(some.texts) < len(whole.texts)
    assert [row for some in known.shards(3) for row in some.pairs] == rows[21:]
    first = {row["query_id"]: row for row in reversed(rows) if row["answers"]}
    unanswered = [row for some in known.unanswered() for row in some.pairs]
    assert sorted(row["pair_id"] for row in unanswered) == sorted(row["pair_id"] for row in first.values())


def made(tables, folder, rows):
    """Mined pairs and examples, of shards of so many pairs; and how many shards they stand in."""
    mining = MINING | {"shard_rows": rows}
    passages, pairs, leaks, matches, candidates = tables.values()
    parts = nodes.mine_positives(passages, pairs, leaks, matches, candidates, SOURCES, mining, 1)
    mined = write_table(folder / "mined", SCHEMAS["pairs"], parts)
    parts = nodes.choose_examples(
        passages, pairs, leaks, matches, candidates, SOURCES, mining, 1, mined, stage="finetuning"
    )
    examples = write_table(folder / "examples", SCHEMAS["examples"], parts)
    report = nodes.report_negatives(passages, pairs, matches, candidates, SOURCES, mining, mined, finetuning=examples)
    return mined.read(), examples.read(), report, len(examples.shards("s"))


def test_the_size_of_shards_changes_no_row(tables, tmp_path):
    *whole, one = made(tables, tmp_path / "whole", 1000)
    *parts, many = made(tables, tmp_path / "parts", 4)
    assert (one, many > 30) == (3, True)
    assert whole[0].num_rows > 5 and whole[1].num_rows > 100
    assert parts[0].equals(whole[0]) and parts[1].equals(whole[1])
    assert parts[2][0].equals(whole[2][0]) and parts[2][1] == whole[2][1]


@pytest.mark.long
def test_a_killed_choice_continues_with_the_first_missing_shard(tables, tmp_path):
    mining = MINING | {"shard_rows": 5}
    passages, pairs, leaks, matches, candidates = tables.values()
    part = nodes.choose_examples(passages, pairs, leaks, matches, candidates, SOURCES, mining, 1, stage="finetuning")[
        "s"
    ]
    mine = nodes.mine_positives(passages, pairs, leaks, matches, candidates, SOURCES, mining, 1)["s"]
    for every in (part, mine):
        shards = list(every.shards([]))
        assert every.total() == len(shards)
        files = [tmp_path / f"{number}.parquet" for number in range(len(shards))]
        for file, shard in zip(files, shards, strict=True):
            pq.write_table(shard, file)
        for done in range(len(shards)):
            assert list(every.shards(files[:done])) == shards[done:], done
        assert isinstance(shards[0], pa.Table)
