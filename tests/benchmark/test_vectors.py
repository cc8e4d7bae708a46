"""Vectors come back by their text, whatever the order, from the folder that another process wrote."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from ruri_kedro.benchmark.mteb.vectors import VectorStore, text_keys


def vectors_of(keys):
    return np.stack([np.random.default_rng(int(key)).random(3, dtype=np.float32) for key in keys])


@settings(deadline=None, max_examples=30)
@given(blocks=st.lists(st.lists(st.text(max_size=4), max_size=6), max_size=5), data=st.data())
def test_vectors_come_back_by_key(blocks, data, tmp_path_factory):
    folder = tmp_path_factory.mktemp("vectors")
    store, written = VectorStore(folder), 0
    for texts in blocks:
        keys = text_keys(texts, 8)
        new = keys[store.missing(keys)]
        assert len(set(new.tolist())) == len(new)
        if len(new):
            store.add(new, vectors_of(new))
        written += len(new)
    known = sorted({text for texts in blocks for text in texts})
    assert written == len(known)
    asked = text_keys(data.draw(st.lists(st.sampled_from(known), min_size=1)) if known else [], 8)
    for opened in (store, VectorStore(folder)):
        assert len(opened.missing(asked)) == 0
        if len(asked):
            assert np.array_equal(opened.get(asked), vectors_of(asked))


def test_missing_are_first_occurrences_in_order():
    keys = text_keys(["b", "a", "b", "c", "a"], 8)
    assert VectorStore("/nowhere").missing(keys).tolist() == [0, 1, 3]


def test_length_and_text_make_the_key():
    assert text_keys(["a"], 8) != text_keys(["a"], 9)
    assert text_keys(["クエリ: a"], 8) != text_keys(["a"], 8)


def test_a_block_that_was_not_finished_is_not_there(tmp_path, monkeypatch):
    store, keys = VectorStore(tmp_path), text_keys(["a", "b"], 8)
    store.add(keys[:1], vectors_of(keys[:1]))
    (tmp_path / ".writing-block-00001-01234567").mkdir()
    (tmp_path / ".writing-block-00001-01234567/keys.npy").write_bytes(b"half")
    reopened = VectorStore(tmp_path)
    assert reopened.missing(keys).tolist() == [1]
    reopened.add(keys[1:], vectors_of(keys[1:]))
    assert np.array_equal(VectorStore(tmp_path).get(keys), vectors_of(keys))
    assert not list(tmp_path.glob(".*"))


def test_two_that_write_at_once_do_not_take_each_others_vectors(tmp_path):
    one, other, keys = VectorStore(tmp_path), VectorStore(tmp_path), text_keys(["a", "b"], 8)
    one.add(keys[:1], vectors_of(keys[:1]))
    other.add(keys[1:], vectors_of(keys[1:]))
    for store, part in ((one, keys[:1]), (other, keys[1:]), (VectorStore(tmp_path), keys)):
        assert np.array_equal(store.get(part), vectors_of(part))
