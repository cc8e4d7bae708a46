"""Dense search against sorting all inner products."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from ruri_kedro.errors import DataError
from ruri_kedro.search.dense import faiss_index as dense


def brute_force(queries, documents, k):
    """Indices and scores by falling score, then rising index, in float64."""
    scores = queries.astype(np.float64) @ documents.astype(np.float64).T
    order = np.lexsort((np.broadcast_to(np.arange(len(documents)), scores.shape), -scores), axis=-1)[:, :k]
    return order, np.take_along_axis(scores, order, axis=1)


def vectors(rows, width):
    # Products of small whole numbers are exact in float32, and tie often.
    return hnp.arrays(np.float32, st.tuples(rows, st.just(width)), elements=st.integers(-2, 2).map(float))


@settings(deadline=None, max_examples=60)
@given(
    queries=vectors(st.integers(1, 30), 3),
    documents=vectors(st.integers(1, 60), 3),
    k=st.integers(1, 70),
    block=st.sampled_from([1, 7, 1000]),
)
def test_equals_brute_force_with_ties_and_blocks(queries, documents, k, block):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(dense, "DOCUMENT_BLOCK", block)
        patch.setattr(dense, "QUERY_BLOCK", 11)
        patch.setattr(dense, "_TIE_CELLS", 64)
        indices, scores = dense.search(queries, documents, k, threads=1)
    expected_indices, expected_scores = brute_force(queries, documents, k)
    np.testing.assert_array_equal(indices, expected_indices)
    np.testing.assert_array_equal(scores, expected_scores)
    assert (indices.dtype, scores.dtype) == (np.int64, np.float32)


def unit_vectors(seed, rows, width=64):
    drawn = np.random.default_rng(seed).normal(size=(rows, width)).astype(np.float32)
    return drawn / np.linalg.norm(drawn, axis=1, keepdims=True)


def test_equals_brute_force_on_unit_vectors():
    queries, documents = unit_vectors(0, 50), unit_vectors(1, 3000)
    indices, scores = dense.search(queries, documents, 100, threads=2)
    _, expected = brute_force(queries, documents, 100)
    np.testing.assert_allclose(scores, expected, atol=1e-6)
    picked = np.take_along_axis(queries @ documents.T, indices, axis=1)
    np.testing.assert_allclose(picked, expected, atol=1e-6)


def test_copies_beyond_the_cut_are_left_out_from_the_end():
    documents = np.repeat(unit_vectors(2, 3), 200, axis=0)
    indices, _ = dense.search(documents[:1], documents, 5, threads=1)
    assert indices.tolist() == [[0, 1, 2, 3, 4]]


def test_a_memory_map_of_half_floats_is_read_in_blocks(tmp_path, monkeypatch):
    monkeypatch.setattr(dense, "DOCUMENT_BLOCK", 100)
    documents = unit_vectors(3, 450).astype(np.float16)
    np.save(tmp_path / "documents.npy", documents)
    mapped = np.load(tmp_path / "documents.npy", mmap_mode="r")
    queries = documents[::90].astype(np.float32)
    indices, _ = dense.search(queries, mapped, 1, threads=1)
    assert indices[:, 0].tolist() == [0, 90, 180, 270, 360]


@pytest.mark.parametrize(("queries", "documents"), [(0, 5), (5, 0), (0, 0)])
def test_nothing_to_search_or_to_find(queries, documents):
    indices, scores = dense.search(unit_vectors(0, queries), unit_vectors(0, documents), 3, threads=1)
    assert indices.shape == scores.shape == (queries, min(3, documents))


def test_vectors_that_are_no_numbers_are_refused():
    documents = unit_vectors(0, 5)
    documents[2] = np.nan
    with pytest.raises(DataError, match="not a number"):
        dense.search(unit_vectors(1, 2), documents, 5, threads=1)


def test_widths_that_differ_are_refused():
    with pytest.raises(DataError, match=r"\(2, 3\).*\(4, 5\)"):
        dense.search(np.zeros((2, 3), np.float32), np.zeros((4, 5), np.float32), 1, threads=1)


def test_the_number_of_threads_is_put_back():
    import faiss

    before = faiss.omp_get_max_threads()
    dense.search(unit_vectors(0, 2), unit_vectors(1, 5), 2, threads=before + 1)
    assert faiss.omp_get_max_threads() == before


def test_a_gpu_is_used_where_faiss_has_one(monkeypatch):
    import faiss

    def knn_gpu(resources, queries, documents, k, metric):
        used.append(resources)
        return faiss.knn(queries, documents, k, metric=metric)

    used = []
    monkeypatch.setattr(faiss, "get_num_gpus", lambda: 1)
    monkeypatch.setattr(faiss, "knn_gpu", knn_gpu)
    monkeypatch.setattr(dense, "_gpu", lambda: "resources")
    queries, documents = unit_vectors(0, 3), unit_vectors(1, 9)
    indices, _ = dense.search(queries, documents, 4, threads=1)
    assert used == ["resources"]
    np.testing.assert_array_equal(indices, brute_force(queries, documents, 4)[0])
