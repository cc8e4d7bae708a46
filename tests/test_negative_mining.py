"""The nodes of negative mining on a small source: what is done again when a parameter changes, and what is not."""

import numpy as np
import pytest

from ruri_kedro.datasets import FolderDataset
from ruri_kedro.errors import RecipeError
from ruri_kedro.mining import searches as searching
from ruri_kedro.models.reference import EncoderReference
from ruri_kedro.pipelines.negative_mining import nodes
from ruri_kedro.recipe.stages import mined_stages
from ruri_kedro.tables import SCHEMAS, Part, Table, write_table

STAGES = mined_stages("supervised")
PLACES = ("東京", "京都", "札幌", "那覇", "仙台", "広島")
SOURCES = {"s": {"kind": "question_to_passage", "path": "s.jsonl", "stages": {"finetuning": {"negatives": "rrf"}}}}
BM25 = {"engine": "bm25s", "analyzer": "sudachi_a", "k1": 0.9, "b": 0.4, "threads": 1, "heap_mb": 64}
PROMPTS = {"query": "問: ", "document": "文: "}
ENCODING = {"max_length": 32, "chunk_tokens": 512, "precision": "float32", "device": "cpu"}
ENCODED: list[str] = []


def encode(self, texts, prompt, max_length, chunk_tokens, label, precision):
    ENCODED.extend(texts)
    vectors = np.array([np.random.default_rng([ord(c) for c in text]).normal(size=8) for text in texts])
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


class Project:
    """Tables of six passages and a question to each, and what mining leaves on disk."""

    def __init__(self, root, documents=PLACES):
        self.root = root
        self.model = root / "model"
        self.model.mkdir(exist_ok=True)
        passages = [self._passage(f"d{i}", f"{place}の駅は町の東にある。") for i, place in enumerate(documents)]
        passages += [self._passage(f"q{i}", f"{place}の駅はどこにある？") for i, place in enumerate(PLACES)]
        pairs = [
            {"pair_id": f"p{i}", "query_id": f"id{i}", "source": "s", "split": "train", "anchor": f"q{i}",
             "positive": f"d{i}", "given_negatives": [], "answers": [], "origin": "given"}
            for i in range(len(PLACES))
        ]  # fmt: skip
        rows = {"passages": passages, "pairs": pairs, "leaks": [], "matches": []}
        self.tables = {name: self._write(name, rows[name]) for name in rows}

    def mine(self, sources=SOURCES, **change):
        """Examples of fine-tuning by query, and the texts that were encoded."""
        ENCODED.clear()
        mining = {
            "encoder": {"name": None}, "cache": {"folder": str(self.root / "cache"), "block": 4},
            "nearest": {"exact_below": 100, "kind": "flat", "cells": 1, "probes": 1, "links": 1, "effort": 1},
            "shard_rows": 10, "depth": 6, "rrf_k": 60, "window": {"first": 1, "last": 6}, "mine_window": None,
            "max_mined": 0, "min_answer_chars": 2, "fill": False, "negatives": 2,
        } | change  # fmt: skip
        passages, pairs, leaks, matches = self.tables.values()
        indexes = FolderDataset(filepath=str(self.root / "indexes"))
        indexes.save(searching.build_indexes(passages, pairs, sources, mining, BM25, STAGES))
        embeddings = FolderDataset(filepath=str(self.root / "embeddings"))
        embedded = searching.embed_collections(
            passages, pairs, self.model, sources, mining, BM25, PROMPTS, ENCODING, stages=STAGES
        )
        embeddings.save(embedded)
        found = searching.search(
            passages, pairs, indexes.load(), embeddings.load(), self.model, sources, mining, BM25, PROMPTS, ENCODING,
            stages=STAGES,
        )  # fmt: skip
        candidates = write_table(self.root / "candidates", SCHEMAS["candidates"], found)
        assert all(part.total() == len(candidates.shards(name)) for name, part in found.items())
        chosen = nodes.choose_examples(
            passages, pairs, leaks, matches, candidates, sources, mining, seed=1, stage="finetuning"
        )
        examples = write_table(self.root / "examples", SCHEMAS["examples"], chosen)
        self.report = nodes.report_negatives(passages, pairs, matches, candidates, sources, mining, finetuning=examples)
        return {row["query_id"]: row["negatives"] for row in examples.iter_rows()}, list(ENCODED)

    def written(self):
        """When each index, list of embeddings, shard and candidate was written."""
        folders = [self.root / name for name in ("indexes", "embeddings", "cache", "candidates")]
        files = (path for folder in folders for path in folder.rglob("*/*") if path.is_file())
        return {path: path.stat().st_mtime_ns for path in files}

    def _write(self, name, rows):
        return write_table(self.root / name, SCHEMAS[name], {"s": Part(str(rows), lambda: [rows] if rows else [])})

    @staticmethod
    def _passage(docid, text):
        return {"docid": docid, "source": "s", "title": "", "section": "", "text": text}


@pytest.fixture
def project(tmp_path, monkeypatch):
    monkeypatch.setattr(EncoderReference, "encode", encode)
    return Project(tmp_path)


@pytest.mark.parametrize(
    "change",
    [{"window": {"first": 3, "last": 4}}, {"negatives": 1}, {"max_score_ratio": 0.5}, {"fill": True, "negatives": 6}],
)
def test_window_count_and_threshold_neither_encode_nor_index_nor_search(project, change):
    first, encoded = project.mine()
    assert len(encoded) == len(set(encoded)) == 12
    before = project.written()
    second, encoded = project.mine(**change)
    assert encoded == [] and project.written() == before
    assert first != second


@pytest.mark.parametrize("strategy", ["rrf", "bm25"])
def test_each_query_is_searched_once_in_shards_of_any_size(project, strategy):
    sources = {"s": SOURCES["s"] | {"stages": {"finetuning": {"negatives": strategy}}}}
    again = [row | {"pair_id": f"again {row['pair_id']}"} for row in project.tables["pairs"].iter_rows()]
    both = [*project.tables["pairs"].iter_rows(), *again]
    project.tables["pairs"] = project._write("pairs", both)
    found = {}
    for rows in (10, 4):
        project.mine(sources, shard_rows=rows)
        table = Table(project.root / "candidates", SCHEMAS["candidates"])
        found[rows] = table.read().to_pylist()
        assert len(table.shards("s")) == (1 if rows == 10 else 2)
    assert [row["query_id"] for row in found[4]] == [f"id{i}" for i in range(len(PLACES))]
    for one, other in zip(found[10], found[4], strict=True):
        for scores in ("dense_scores", "positive_scores"):  # sums of as many products, in another order perhaps
            assert one.pop(scores) == pytest.approx(other.pop(scores), abs=1e-6)
        assert one == other


def test_an_added_document_encodes_only_itself(project):
    project.mine()
    _, encoded = Project(project.root, (*PLACES, "福岡")).mine()
    assert encoded == ["福岡の駅は町の東にある。"]


def test_prompts_are_those_of_the_encoder_else_of_the_source_else_of_the_recipe(project, monkeypatch):
    asked = set()

    def spy(self, texts, prompt, max_length, *rest, **more):
        asked.add((prompt, max_length))
        return encode(self, texts, prompt, max_length, *rest, **more)

    monkeypatch.setattr(EncoderReference, "encode", spy)
    own = {"s": SOURCES["s"] | {"prompts": {"query": "文一: ", "document": "文二: "}}}
    e5 = {"name": None, "prompts": {"query": "query: ", "document": "passage: "}, "max_length": 9}
    wanted = [
        ({}, {("問: ", 32), ("文: ", 32)}),
        ({"sources": own}, {("文一: ", 32), ("文二: ", 32)}),
        ({"sources": own, "encoder": e5}, {("query: ", 9), ("passage: ", 9)}),
    ]
    for given, expected in wanted:  # nothing that was encoded otherwise is taken for it
        asked.clear()
        project.mine(**given)
        assert asked == expected
    for given, _ in wanted:
        asked.clear()
        project.mine(**given)
        assert not asked, "the cache has it"


def test_so_many_pairs_take_part_in_shards_of_any_size(project):
    row = {"negatives": "random", "max_rows": 5, "expected_rows": 7}
    sources = {"s": SOURCES["s"] | {"stages": {"finetuning": row}}}
    for size in (10, 4, 1):
        assert list(project.mine(sources, shard_rows=size)[0]) == [f"id{i}" for i in range(5)]
    figures = project.report[0].to_dict("records")[0]
    assert (figures["train_rows"], figures["expected_rows"]) == (5, 7)


def test_another_precision_encodes_anew(project, monkeypatch):
    _, first = project.mine()
    monkeypatch.setitem(ENCODING, "precision", "float16")
    assert sorted(project.mine()[1]) == sorted(first)


def test_a_row_of_a_source_has_its_own_window_and_count(project):
    row = {"negatives": "dense", "window": {"first": 2, "last": 4}, "count": 1}
    sources = {"s": SOURCES["s"] | {"stages": {"finetuning": row}}}
    examples, _ = project.mine(sources)
    assert all(len(negatives) == 1 for negatives in examples.values())
    frame, page = project.report
    assert frame["lowest_rank"].item() >= 2 and frame["highest_rank"].item() <= 4
    assert frame["negatives"].item() == 6 and "dense" in page
    assert not (project.root / "indexes/s").exists(), "BM25 is not asked for"


def test_the_threshold_compares_cosines_of_cached_vectors(project):
    loose, _ = project.mine(negatives=6)
    strict, _ = project.mine(negatives=6, max_score_ratio=0.9)

    def cosine(query, docid):
        texts = {row["docid"]: row["text"] for row in project.tables["passages"].iter_rows()}
        one, other = encode(None, [texts[f"q{query.removeprefix('id')}"], texts[docid]], "", 0, 0, "", "float32")
        return one @ other

    for query, negatives in loose.items():
        limit = 0.9 * cosine(query, f"d{query.removeprefix('id')}")
        assert set(strict[query]) == {docid for docid in negatives if cosine(query, docid) < limit}


def test_a_window_deeper_than_the_search_is_refused(project):
    with pytest.raises(RecipeError, match=r"sources\.s\.stages\.finetuning: the window ends at rank 9.*search at 6"):
        project.mine(window={"first": 2, "last": 9})


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"window": {"first": 1, "last": 7}},
            r"sources\.s\.stages\.finetuning: the window ends at rank 7",
        ),
        (
            {"window": {"first": "1", "last": 6}},
            r'mining\.\*\.window\.first: "1" .*is given, expected is',
        ),
        ({"negatives": "many"}, r"negatives=many: a whole number, 0 or more"),
        ({"shard_rows": 0}, r"mining\.\*\.shard_rows=0: a whole number, 1 or more"),
        ({"depth": "100"}, r"mining\.\*\.depth=100: a whole number"),
        ({"fill": "perhaps"}, "fill=perhaps: true or false"),
    ],
)
def test_a_parameter_without_a_meaning_is_refused_before_anything_is_indexed(project, change, message):
    with pytest.raises(RecipeError, match=message):
        project.mine(**change)
    assert not (project.root / "indexes").exists() and ENCODED == []
