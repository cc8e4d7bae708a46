"""BM25, dense search and search among token vectors by one interface."""

import numpy as np
import pytest
from token_vectors import SETTINGS, unit

from ruri_kedro.engines.engine import engine_of
from ruri_kedro.errors import DataError, RecipeError
from ruri_kedro.search.bm25.index import BM25Settings
from ruri_kedro.search.bm25.retriever import BM25Retriever
from ruri_kedro.search.dense.embeddings import EmbeddingCache
from ruri_kedro.search.dense.nearest import NearestSettings
from ruri_kedro.search.dense.retriever import DenseRetriever
from ruri_kedro.search.multi_vector.retriever import MultiVectorRetriever

TEXTS = {
    "a": "梅雨 は 雨季 の 一種",
    "b": "北海道 に 梅雨 は ない",
    "c": "東京 は 日本 の 首都",
    "d": "富士山 は 日本 で 最も 高い 山",
}


def token_vectors(texts):
    """A vector for each word, the same in all texts."""
    return [
        unit(np.stack([_word(word) for word in text.split()] or [np.zeros(16)])[: len(text.split())]) for text in texts
    ]


def text_vectors(texts):
    return unit(np.stack([vectors.sum(axis=0) for vectors in token_vectors(texts)]))


def _word(word):
    return np.random.default_rng(list(word.encode())).standard_normal(16)


def bm25(folder):
    settings = BM25Settings(analyzer="sudachi_a", k1=0.9, b=0.4, threads=1, heap_mb=64, engine="bm25s")
    return BM25Retriever(folder / "bm25", settings)


def dense(folder):
    nearest = NearestSettings(exact_below=1000, kind="ivf", cells=16, probes=12, links=16, effort=100)
    cache = EmbeddingCache(folder / "cache", 2)
    return DenseRetriever(folder / "dense", cache, text_vectors, text_vectors, nearest, 1)


def multi_vector(folder, engine=map):
    return MultiVectorRetriever(folder / "tokens", SETTINGS, "model", token_vectors, token_vectors, 3, engine)


RETRIEVERS = [bm25, dense, multi_vector]


@pytest.mark.parametrize("make", RETRIEVERS)
def test_what_is_asked_for_is_found(tmp_path, make):
    retriever = make(tmp_path)
    retriever.build(TEXTS.items(), "key", len(TEXTS))
    found = list(make(tmp_path).search(["梅雨 の 雨季", "日本 の 首都"], 2))
    assert [hits[0][0] for hits in found] == ["a", "c"]
    assert all(1 <= len(hits) <= 2 and hits == sorted(hits, key=lambda hit: -hit[1]) for hits in found)


@pytest.mark.parametrize("make", RETRIEVERS)
def test_nothing_built_no_document_and_no_hit_asked_for_are_errors(tmp_path, make):
    with pytest.raises(DataError):
        list(make(tmp_path).search(["梅雨"], 2))
    make(tmp_path).build(TEXTS.items(), "key")
    with pytest.raises(RecipeError, match="k=0"):
        list(make(tmp_path).search(["梅雨"], 0))


def test_documents_are_encoded_where_the_engine_says_and_added(tmp_path):
    seen = []

    def engine(make, blocks):
        for block in blocks:
            seen.append(len(block))
            yield make(block)

    retriever = multi_vector(tmp_path, engine)
    retriever.build([*TEXTS.items(), ("blank", "")], "key")
    assert seen == [3, 2]
    retriever.add([("e", "大阪 は 梅雨")], "more")
    assert [docid for docid, _ in next(iter(retriever.search(["大阪 梅雨"], 1)))] == ["e"]


@pytest.mark.slow
def test_ray_encodes_to_the_same_files(tmp_path):
    pytest.importorskip("ray")
    from token_vectors import files

    for name, engine in (("local", map), ("ray", engine_of("ray"))):
        multi_vector(tmp_path / name, engine).build(TEXTS.items(), "key")
    assert files(tmp_path / "local") == files(tmp_path / "ray")
