"""Embeddings on disk: what is encoded, what is kept, what a killed run leaves."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ruri_kedro.errors import DataError
from ruri_kedro.mining.candidates import dense_rankings
from ruri_kedro.search.dense.embeddings import (
    EmbeddingCache,
    ShardedVectors,
    build_embeddings,
    embed_texts,
    encode_texts,
    load_embeddings,
)
from ruri_kedro.search.dense.faiss_index import search

DOCUMENTS = [("a", "一"), ("b", "二"), ("c", "三"), ("d", "四"), ("e", "五")]


class Encoder:
    """Unit vectors that depend on the text alone; remembers what it was given."""

    def __init__(self):
        self.calls = []

    def __call__(self, texts):
        self.calls.append(list(texts))
        return np.array([vector(text) for text in texts], dtype=np.float32)


def vector(text):
    drawn = np.random.default_rng(int.from_bytes(text.encode(), "little")).normal(size=8)
    return drawn / np.linalg.norm(drawn)


def cache(tmp_path, block=2, dtype="float16"):
    return EmbeddingCache(tmp_path / "cache", block, dtype)


def test_a_collection_is_encoded_in_blocks_and_read_from_disk(tmp_path):
    encode = Encoder()
    build_embeddings(DOCUMENTS, tmp_path / "e", "key", cache(tmp_path), encode)
    assert encode.calls == [["一", "二"], ["三", "四"], ["五"]]
    found = load_embeddings(tmp_path / "e", cache(tmp_path))
    assert found.docids.to_pylist() == ["a", "b", "c", "d", "e"]
    assert found.vectors.shape == (5, 8)
    np.testing.assert_array_equal(
        found.vectors[:], np.array([vector(text) for _, text in DOCUMENTS]).astype(np.float16)
    )
    hits = search(np.array([vector("四")], dtype=np.float32), found.vectors, 2, 1)
    (ranking,) = dense_rankings(*hits, found)
    assert ranking[0] == ("d", pytest.approx(1, abs=1e-3))
    assert found.places(["e", "a"]).tolist() == [4, 0]
    with pytest.raises(DataError, match="docid z"):
        found.places(["a", "z"])


def test_an_added_document_encodes_only_itself(tmp_path):
    build_embeddings(DOCUMENTS, tmp_path / "e", "one", cache(tmp_path), Encoder())
    encode = Encoder()
    build_embeddings([("new", "新"), *DOCUMENTS[::-1]], tmp_path / "e", "two", cache(tmp_path), encode)
    assert encode.calls == [["新"]]
    found = load_embeddings(tmp_path / "e", cache(tmp_path))
    np.testing.assert_array_equal(found.vectors[[1]], np.array([vector("五")]).astype(np.float16))


def test_the_same_text_is_encoded_once_in_all_collections(tmp_path):
    encode = Encoder()
    build_embeddings([("x", "一"), ("y", "一")], tmp_path / "e", "key", cache(tmp_path), encode)
    embed_texts([("z", "一"), ("w", "六")], cache(tmp_path), encode)
    assert encode.calls == [["一"], ["六"]]


def test_a_killed_run_goes_on_with_the_first_missing_block(tmp_path):
    def dies(texts):
        if "五" in texts:
            raise KeyboardInterrupt
        return Encoder()(texts)

    with pytest.raises(KeyboardInterrupt):
        build_embeddings(DOCUMENTS, tmp_path / "e", "key", cache(tmp_path), dies)
    with pytest.raises(DataError, match="no embeddings here"):
        load_embeddings(tmp_path / "e", cache(tmp_path))
    encode = Encoder()
    build_embeddings(DOCUMENTS, tmp_path / "e", "key", cache(tmp_path), encode)
    assert encode.calls == [["五"]]


def test_a_cache_that_has_gone_is_filled_again(tmp_path):
    import shutil

    build_embeddings(DOCUMENTS, tmp_path / "e", "key", cache(tmp_path), Encoder())
    shutil.rmtree(tmp_path / "cache")
    with pytest.raises(DataError, match="5 embeddings are gone"):
        load_embeddings(tmp_path / "e", cache(tmp_path))
    encode = Encoder()
    build_embeddings(DOCUMENTS, tmp_path / "e", "key", cache(tmp_path), encode)
    assert len(encode.calls) == 3
    assert len(load_embeddings(tmp_path / "e", cache(tmp_path)).vectors) == 5


def test_no_texts_have_no_embeddings(tmp_path):
    assert len(embed_texts([], cache(tmp_path), Encoder()).vectors[:]) == 0


@given(
    sizes=st.lists(st.integers(1, 5), min_size=1, max_size=4),
    data=st.data(),
)
def test_shards_read_as_one_array(sizes, data):
    shards = [np.arange(2 * size).reshape(size, 2) + 100 * i for i, size in enumerate(sizes)]
    whole = np.concatenate(shards)
    rows = np.array(data.draw(st.lists(st.integers(0, len(whole) - 1), max_size=12)), dtype=np.int64)
    vectors = ShardedVectors(shards, rows)
    assert vectors.shape == (len(rows), 2)
    start, stop = data.draw(st.tuples(st.integers(0, 12), st.integers(0, 12)))
    np.testing.assert_array_equal(vectors[start:stop], whole[rows][start:stop])


@settings(deadline=None, max_examples=40)
@given(st.lists(st.lists(st.text(min_size=1, max_size=2), max_size=6), max_size=4))
def test_every_text_finds_its_own_vector(tmp_path_factory, blocks):
    folder = tmp_path_factory.mktemp("cache")
    for texts in blocks:
        embed_texts(zip(texts, texts, strict=True), EmbeddingCache(folder, 4, "float64"), Encoder())
    again = EmbeddingCache(folder, 4, "float64")
    for texts in blocks:
        found = embed_texts(zip(texts, texts, strict=True), again, lambda _: pytest.fail("encoded again"))
        if texts:
            expected = np.array([vector(text) for text in texts], dtype=np.float32)
            np.testing.assert_array_equal(found.vectors[:], expected)


def test_an_engine_with_several_blocks_in_flight_leaves_the_same_cache(tmp_path):
    def all_at_once(make, shards):
        return [make(shard) for shard in list(shards)]

    texts = [(str(number), "一二三四五六七"[number % 7]) for number in range(20)]
    for name, engine in (("one", map), ("many", all_at_once)):
        encode_texts(texts, EmbeddingCache(tmp_path / name, 3), Encoder(), engine)
    one, many = (
        {path.relative_to(tmp_path / name): path.read_bytes() for path in (tmp_path / name).rglob("*.*")}
        for name in ("one", "many")
    )
    assert len(one) == 9 and one == many
