"""What is exported is read by LanceDB and Qdrant, embedded, which then find what exact MaxSim finds."""

import json
from urllib.parse import quote

import numpy as np
import pyarrow.parquet as pq
import pytest
from token_vectors import MODEL, SETTINGS, Collection, build, make_collection, make_queries

from ruri_kedro.errors import DataError
from ruri_kedro.search.multi_vector.search import Searcher
from ruri_kedro.search.multi_vector.update import add_documents, delete_documents
from ruri_kedro.search.vector_stores.export import export, load
from ruri_kedro.search.vector_stores.manifest import read_export
from ruri_kedro.search.vector_stores.parquet import read_documents
from ruri_kedro.search.vector_stores.sources import stored

COLLECTION, MORE = make_collection(120), make_collection(30, seed=4)
QUERIES = make_queries(COLLECTION, 10)


@pytest.fixture(scope="module")
def index(tmp_path_factory):
    """An index of two segments, one document of which is deleted."""
    folder = tmp_path_factory.mktemp("index") / "index"
    build(COLLECTION, folder)
    add_documents(MORE.blocks, folder, SETTINGS, MODEL, "more")
    delete_documents(folder, COLLECTION.docids[:1], MODEL)
    return folder


@pytest.fixture(scope="module")
def best(index):
    """The first five of each query, in our own search."""
    return [[docid for docid, _ in hits] for hits in Searcher(index, SETTINGS, MODEL).search(QUERIES, 5)]


def export_index(index, to, out):
    return export(stored(index), to, out, "passages", "kuromoji")


def test_lancedb_finds_the_same(index, best, tmp_path):
    lancedb = pytest.importorskip("lancedb")
    assert export_index(index, "lancedb", tmp_path / "out") == 149
    passages = pq.read_table(tmp_path / "out" / "documents.parquet")
    table = lancedb.connect(tmp_path / "db").create_table("passages", passages)
    found = [table.search(query).distance_type("cosine").limit(5).to_list() for query in QUERIES]
    assert overlap([[row["docid"] for row in rows] for rows in found], best) > 0.95


def test_qdrant_finds_the_same(index, best, tmp_path):
    client_of = pytest.importorskip("qdrant_client")
    export_index(index, "qdrant", tmp_path / "out")
    for _ in range(2):
        load(tmp_path / "out", str(tmp_path / "db"))
    client = client_of.QdrantClient(path=str(tmp_path / "db"))
    assert client.count("passages").count == 149
    found = [client.query_points("passages", query=query.tolist(), limit=5).points for query in QUERIES]
    assert overlap([[point.payload["docid"] for point in points] for points in found], best) > 0.95


def test_parquet_holds_the_vectors_for_another_export(index, best, tmp_path):
    export_index(index, "parquet", tmp_path / "out")
    layout = read_export(tmp_path / "out")[1]
    batches = [*read_documents(tmp_path / "out" / "documents.parquet", layout)]
    kept = Collection([docid for batch in batches for docid in batch.docids],
                      [vectors for batch in batches for vectors in batch.vectors])  # fmt: skip
    assert overlap([kept.best(query, 5) for query in QUERIES], best) > 0.95
    assert export(stored(tmp_path / "out"), "vespa", tmp_path / "again", "passages", "kuromoji") == 149


def test_vespas_feed_holds_all_vectors_and_its_schema_their_size(index, best, tmp_path):
    export_index(index, "vespa", tmp_path / "out")
    rows = [json.loads(line) for line in (tmp_path / "out" / "feed.jsonl").read_text("utf-8").splitlines()]
    fields = [row["fields"] for row in rows]
    stored = Collection(
        [row["docid"] for row in fields],
        [np.array(list(row["vectors"]["blocks"].values()), dtype=np.float32) for row in fields],
    )
    assert rows[0]["put"] == f"id:passages:passages::{quote(COLLECTION.docids[1])}"
    assert overlap([stored.best(query, 5) for query in QUERIES], best) > 0.95
    assert "tensor<bfloat16>(token{}, v[32])" in (tmp_path / "out" / "application/schemas/passages.sd").read_text(
        "utf-8"
    )


def test_a_folder_that_holds_something_is_left_alone(index, tmp_path):
    (tmp_path / "kept").write_text("mine")
    with pytest.raises(DataError, match="is not empty"):
        export_index(index, "vespa", tmp_path)
    assert (tmp_path / "kept").read_text() == "mine"


def overlap(found, best):
    return np.mean([len({*one} & {*other}) / len(other) for one, other in zip(found, best, strict=True)])
