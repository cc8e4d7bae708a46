"""Search among token vectors, beside MaxSim of every query with every document by brute force."""

from dataclasses import replace

import numpy as np
import pytest
from token_vectors import MODEL, SETTINGS, Collection, build, make_collection, make_queries, unit

from ruri_kedro.errors import DataError, RecipeError
from ruri_kedro.search.multi_vector.centroids import Nearest, train_centroids
from ruri_kedro.search.multi_vector.residuals import _buckets, fit_codec
from ruri_kedro.search.multi_vector.search import Searcher
from ruri_kedro.search.multi_vector.settings import number_of_centroids

COLLECTION = make_collection(600)
QUERIES = make_queries(COLLECTION, 30)


@pytest.fixture(scope="module")
def index(tmp_path_factory):
    folder = tmp_path_factory.mktemp("index") / "index"
    build(COLLECTION, folder)
    return folder


def hits(folder, queries, k=10, settings=SETTINGS):
    return list(Searcher(folder, settings, MODEL).search(queries, k))


def recall(found, collection, queries, k=10):
    pairs = zip(found, queries, strict=True)
    return np.mean([len({docid for docid, _ in hit} & {*collection.best(query, k)}) / k for hit, query in pairs])


def test_scores_are_max_sim_of_the_decompressed_vectors(index):
    searcher = Searcher(index, SETTINGS, MODEL)
    (segment,), codec = searcher._index.segments, searcher._index.codec
    vectors = np.split(codec.decompress(segment.stored), segment.offsets[1:-1])
    stored = Collection(segment.docids.to_pylist(), vectors)
    for query, found in zip(QUERIES, searcher.search(QUERIES, 10), strict=True):
        scores = dict(zip(stored.docids, stored.scores(query), strict=True))
        np.testing.assert_allclose([score for _, score in found], [scores[docid] for docid, _ in found], rtol=0.004)
        assert [score for _, score in found] == sorted((score for _, score in found), reverse=True)


@pytest.mark.parametrize(("bits", "least"), [(1, 0.7), (2, 0.85), (4, 0.93)])
def test_more_bits_find_more_of_what_brute_force_finds(tmp_path, bits, least):
    settings = replace(SETTINGS, bits=bits)
    build(COLLECTION, tmp_path / "index", settings)
    assert recall(hits(tmp_path / "index", QUERIES, settings=settings), COLLECTION, QUERIES) > least


def test_the_stages_find_what_scoring_all_documents_finds(index):
    everything = hits(index, QUERIES, settings=replace(SETTINGS, rescored=1000, candidates=1000))
    staged = hits(index, QUERIES)
    same = [len({*one} & {*other}) / 10 for one, other in zip(everything, staged, strict=True)]
    assert np.mean(same) > 0.97


def test_threads_and_other_queries_change_nothing(index):
    alone = [hits(index, [query], settings=replace(SETTINGS, threads=1))[0] for query in QUERIES[:5]]
    assert hits(index, QUERIES)[:5] == alone


def test_tokens_and_bytes(tmp_path):
    """At 128 components and 2 bits: 2 bytes of centroid, 32 of residual, 1 of length, and at most 4 of the lists."""
    collection = make_collection(50, dimension=128)
    build(collection, tmp_path / "index")
    tokens = sum(map(len, collection.documents))
    sizes = {path.stem: path.stat().st_size - 128 for path in (tmp_path / "index" / "segment-00000").iterdir()}
    assert [sizes[name] / tokens for name in ("codes", "packed", "scales")] == [2, 32, 1]
    assert sizes["listed"] / tokens <= 4


@pytest.mark.parametrize("dimension", [8, 24, 136])
def test_any_multiple_of_eight_components(tmp_path, dimension):
    collection = make_collection(60, dimension)
    build(collection, tmp_path / "index")
    queries = make_queries(collection, 10)
    assert recall(hits(tmp_path / "index", queries, 5), collection, queries, 5) > 0.6


def test_a_query_without_tokens_has_no_hits_and_one_of_many_tokens_has(index):
    long = np.concatenate(COLLECTION.documents)[:130]
    empty, found = hits(index, [long[:0], long])
    assert empty == []
    assert len(found) == 10


def test_a_document_without_tokens_is_counted_and_never_found(tmp_path):
    collection = Collection(["a", "blank", "b"], [vectors[:5] for vectors in COLLECTION.documents[:3]])
    collection.documents[1] = collection.documents[1][:0]
    build(collection, tmp_path / "index")
    searcher = Searcher(tmp_path / "index", SETTINGS, MODEL)
    assert {docid for docid, _ in next(searcher.search(QUERIES[:1], 10))} == {"a", "b"}
    assert [searcher._index.manifest[name] for name in ("documents", "blank")] == [2, 1]


def test_k_above_the_collection_gives_all_documents(index):
    (found,) = hits(index, QUERIES[:1], 10_000, replace(SETTINGS, probes=1))
    assert {docid for docid, _ in found} == {*COLLECTION.docids}


def test_few_probes_do_not_shorten_the_answer(index):
    settings = replace(SETTINGS, probes=1, candidates=2, rescored=1)
    assert [len(found) for found in hits(index, QUERIES, 100, settings)] == [100] * len(QUERIES)


def test_fewer_tokens_than_centroids(tmp_path):
    collection = Collection(["a", "b"], [vectors[:1] for vectors in COLLECTION.documents[:2]])
    build(collection, tmp_path / "index", replace(SETTINGS, centroids=5000))
    searcher = Searcher(tmp_path / "index", SETTINGS, MODEL)
    assert len(searcher._index.codec.centroids) == 1
    assert [found[0][0] for found in searcher.search(collection.documents, 5)] == ["a", "b"]


def test_equal_documents_stand_in_order_of_rows(tmp_path):
    collection = Collection(["z", "y", "x"], [COLLECTION.documents[0]] * 3)
    build(collection, tmp_path / "index")
    assert [docid for docid, _ in hits(tmp_path / "index", QUERIES[:1])[0]] == ["z", "y", "x"]


@pytest.mark.parametrize("query", [np.zeros((3, 16)), np.zeros(32), np.full((2, 32), np.nan)])
def test_a_query_of_another_shape_or_not_of_numbers_is_refused(index, query):
    with pytest.raises(DataError, match="query 1: "):
        hits(index, [QUERIES[0], query.astype(np.float32)])


def test_at_least_one_hit_is_asked_for(index):
    with pytest.raises(RecipeError, match="k=0"):
        hits(index, QUERIES, 0)


def test_more_rescored_than_candidates_is_refused():
    with pytest.raises(RecipeError, match=r"rescored: .* candidates=300"):
        replace(SETTINGS, rescored=301)


def test_two_step_centroids_are_nearly_as_near_as_those_of_one_k_means():
    import faiss

    sample = unit(np.concatenate(make_collection(1000, noise=1).documents))
    ours = train_centroids(sample, 1100, 10, 0, 1)
    one = faiss.Kmeans(sample.shape[1], 1100, niter=10, seed=0, spherical=True, min_points_per_centroid=1)
    one.train(sample)
    cosines = [(sample @ centroids.T).max(axis=1).mean() for centroids in (ours, one.centroids)]
    assert cosines[0] > cosines[1] - 0.02
    np.testing.assert_allclose(np.linalg.norm(ours, axis=1), 1, atol=1e-5)


def test_nearest_finds_most_of_the_nearest_in_cells():
    centroids = unit(np.random.default_rng(0).standard_normal((3000, 16)))
    vectors = unit(np.random.default_rng(1).standard_normal((500, 16)))
    found = Nearest(centroids, 1)(vectors)
    assert (found == (vectors @ centroids.T).argmax(axis=1)).mean() > 0.8
    np.testing.assert_array_equal(Nearest(centroids[:500], 1)(vectors), (vectors @ centroids[:500].T).argmax(axis=1))


def test_buckets_are_those_of_the_least_squared_error_for_a_normal_distribution():
    """Max (1960), Table I: four levels."""
    values = np.random.default_rng(0).standard_normal(200_000)
    cutoffs, weights = _buckets(values, 2)
    np.testing.assert_allclose(cutoffs, [-0.9816, 0, 0.9816], atol=0.02)
    np.testing.assert_allclose(weights, [-1.510, -0.4528, 0.4528, 1.510], atol=0.02)


def test_components_of_any_spread_are_stored_as_well():
    """As it is for token vectors whose components are those of a PCA."""
    even = np.concatenate(COLLECTION.documents)
    uneven = unit(even * np.geomspace(1, 0.05, even.shape[1], dtype=np.float32))
    codec = fit_codec(uneven.astype(np.float16), 64, SETTINGS)
    stored = codec.compress(uneven, Nearest(codec.centroids, 1))
    errors = (codec.decompress(stored) - uneven) / uneven.std(axis=0)
    assert errors.std(axis=0).max() < 3 * errors.std(axis=0).min()


@pytest.mark.parametrize(("tokens", "centroids"), [(1, 1), (99, 1), (133_000, 1330), (4_000_000, 16_384)])
def test_the_number_of_centroids_goes_by_the_square_root(tokens, centroids):
    assert number_of_centroids(tokens, None) == centroids
