"""Kinds of dense index by size: flat equals sorting all inner products, the others find nearly the same."""

from dataclasses import asdict, replace

import numpy as np
import pyarrow as pa
import pytest

from ruri_kedro.errors import DataError, RecipeError
from ruri_kedro.mining.candidates import dense_rankings
from ruri_kedro.recipe.parse import parse
from ruri_kedro.search.dense.embeddings import Embeddings
from ruri_kedro.search.dense.nearest import INDEX, NearestSettings, search_nearest, write_nearest_index

SETTINGS = NearestSettings(exact_below=1000, kind="ivf", cells=16, probes=12, links=16, effort=100)


def unit_vectors(seed, rows, width=16):
    drawn = np.random.default_rng(seed).normal(size=(rows, width)).astype(np.float32)
    return drawn / np.linalg.norm(drawn, axis=1, keepdims=True)


def found(folder, settings, queries, documents, k=20):
    write_nearest_index(documents, folder, settings, threads=1)
    return search_nearest(queries, documents, folder, k, settings, threads=1)


def best(queries, documents, k=20):
    return np.argsort(-(queries.astype(np.float64) @ documents.T.astype(np.float64)), axis=1, kind="stable")[:, :k]


@pytest.mark.parametrize("kind", ["flat", "ivf", "hnsw"])
def test_below_the_size_every_kind_is_exact(tmp_path, kind):
    queries, documents = unit_vectors(0, 20), unit_vectors(1, 999)
    indices, scores = found(tmp_path, replace(SETTINGS, kind=kind), queries, documents)
    np.testing.assert_array_equal(indices, best(queries, documents))
    np.testing.assert_allclose(scores, np.take_along_axis(queries @ documents.T, indices, axis=1), atol=1e-6)
    assert not (tmp_path / INDEX).exists()


def test_flat_is_exact_at_every_size(tmp_path):
    queries, documents = unit_vectors(0, 20), unit_vectors(1, 3000)
    indices, _ = found(tmp_path, replace(SETTINGS, kind="flat"), queries, documents)
    np.testing.assert_array_equal(indices, best(queries, documents))


@pytest.mark.parametrize("kind", ["ivf", "hnsw"])
def test_the_others_find_nearly_all_and_the_same_again(tmp_path, kind):
    queries, documents = unit_vectors(0, 50), unit_vectors(1, 3000).astype(np.float16)
    runs = []
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        runs.append(found(tmp_path / name, replace(SETTINGS, kind=kind), queries, documents))
        assert (tmp_path / name / INDEX).exists()
    indices, scores = runs[0]
    np.testing.assert_array_equal(indices, runs[1][0])
    exact = best(queries, documents)
    recall = np.mean([len({*one} & {*other}) / 20 for one, other in zip(indices, exact, strict=True)])
    assert recall > 0.9
    assert (np.diff(scores, axis=1) <= 0).all()
    np.testing.assert_allclose(scores, np.take_along_axis(queries @ documents.T, indices, axis=1), atol=2e-3)


def test_places_without_a_document_are_left_out(tmp_path):
    queries, documents = unit_vectors(0, 3), unit_vectors(1, 1000)
    indices, scores = found(tmp_path, replace(SETTINGS, probes=1), queries, documents, k=500)
    assert (indices < 0).any()
    rankings = dense_rankings(indices, scores, Embeddings(documents, pa.chunked_array([[str(i) for i in range(1000)]])))
    assert [len(ranking) for ranking in rankings] == (indices >= 0).sum(axis=1).tolist()


def test_an_index_that_is_not_there_is_named(tmp_path):
    with pytest.raises(DataError, match=r"no index\.faiss for 1000 documents"):
        search_nearest(unit_vectors(0, 1), unit_vectors(1, 1000), tmp_path, 5, SETTINGS, 1)


@pytest.mark.parametrize("change", [{"kind": "tree"}, {"probes": 0}, {"probes": 17}, {"exact_below": 15}])
def test_settings_without_a_meaning_are_refused(change):
    name = next(iter(change))
    with pytest.raises(RecipeError, match=f"nearest.*{name}.*{change[name]}"):
        parse(NearestSettings, asdict(SETTINGS) | change, "nearest")
