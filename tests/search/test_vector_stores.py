"""What is exported is loaded by the engines, and found there as exact search finds it here."""

import json
import shutil
import subprocess
import sys

import numpy as np
import pyarrow.parquet as pq
import pytest
from made_vectors import HOSTILE, MadeEncoder, made_documents
from postgresql import postgresql
from search_servers import Bulk, Vespa, serving

from ruri_kedro.cli.vector_stores import TARGETS
from ruri_kedro.errors import DataError, RecipeError
from ruri_kedro.search.vector_stores.answers import Answers
from ruri_kedro.search.vector_stores.export import check, export, load
from ruri_kedro.search.vector_stores.qdrant import point_id
from ruri_kedro.search.vector_stores.sources import Source, encoded_texts, stored
from ruri_kedro.search.vector_stores.stores import STORES

COUNT = 300  # more than LanceDB needs for its index
DOCUMENTS = made_documents(COUNT)
QUERIES = [f"富士山の問い {number}" for number in range(20)]


@pytest.fixture(scope="module")
def parquet(tmp_path_factory):
    """An export as Parquet, of which the others are made."""
    folder = tmp_path_factory.mktemp("made") / "parquet"
    source = encoded_texts(MadeEncoder(), DOCUMENTS, QUERIES, {"model": "made"})
    assert export(source, "parquet", folder, "passages", "kuromoji") == len(DOCUMENTS)
    return folder


@pytest.fixture
def exported(parquet, tmp_path):
    """A function that exports for an engine."""

    def make(to, analyser="kuromoji"):
        export(stored(parquet), to, tmp_path / to, "passages", analyser)
        return tmp_path / to

    return make


def test_the_command_knows_every_engine():
    assert set(TARGETS) == set(STORES)


def test_a_parquet_file_holds_ids_texts_and_vectors(parquet):
    table = pq.read_table(parquet / "documents.parquet")
    assert table["docid"].to_pylist() == [docid for docid, _ in DOCUMENTS]
    assert table["text"].to_pylist() == [text for _, text in DOCUMENTS]
    assert np.allclose(np.linalg.norm(np.stack(table["vector"].to_numpy()), axis=1), 1, atol=1e-6)
    recall = check(parquet, None)
    assert (recall.queries, recall.exact, recall.index) == (20, 1.0, 1.0)


def test_lancedb(exported, tmp_path):
    lancedb = pytest.importorskip("lancedb")
    folder, address = exported("lancedb"), str(tmp_path / "db")
    for _ in range(2):  # a load can be repeated
        load(folder, address)
    table = lancedb.connect(address).open_table("passages")
    assert table.count_rows() == len(DOCUMENTS)
    assert_enough(check(folder, address))
    assert table.search("富士山", query_type="fts").limit(3).to_list()
    quoted = HOSTILE[0].replace("'", "''")
    assert table.count_rows(f"docid = '{quoted}'") == 1


def test_qdrant(tmp_path):
    client = pytest.importorskip("qdrant_client")
    folder, address, some = tmp_path / "qdrant", str(tmp_path / "db"), DOCUMENTS[:40]  # embedded, a point is a commit
    export(encoded_texts(MadeEncoder(), some, QUERIES, {}), "qdrant", folder, "passages", "kuromoji")
    for _ in range(2):
        load(folder, address)
    assert_enough(check(folder, address))
    opened = client.QdrantClient(path=address)
    assert opened.count("passages").count == len(some)
    (point,) = opened.retrieve("passages", [point_id(HOSTILE[1])])
    assert point.payload == {"docid": HOSTILE[1], "text": dict(DOCUMENTS)[HOSTILE[1]]}


@pytest.fixture(scope="module")
def database():
    with postgresql(["passages"], "vector") as address:
        yield address.replace("+psycopg2", "") + "/passages"


def test_pgvector(exported, database):
    psycopg2 = pytest.importorskip("psycopg2")
    folder = exported("pgvector")
    for _ in range(2):
        load(folder, database)
    assert_enough(check(folder, database))
    connection = psycopg2.connect(database)
    with connection, connection.cursor() as cursor:
        cursor.execute("SELECT docid, text FROM passages")
        assert dict(cursor.fetchall()) == dict(DOCUMENTS)
        cursor.execute("SELECT count(*) FROM passages WHERE terms @@ plainto_tsquery('simple', '富士山 話')")
        assert cursor.fetchone()[0] == COUNT
    connection.close()


def test_psql_loads_the_same_files(exported, database):
    if shutil.which("psql") is None:
        pytest.skip("no psql here")
    folder = exported("pgvector")
    done = subprocess.run(["psql", database, "-q", "-f", "load.sql"], cwd=folder, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert_enough(check(folder, database))


@pytest.mark.parametrize("to", ["opensearch", "elasticsearch"])
@pytest.mark.parametrize("analyser", ["kuromoji", "sudachi"])
def test_bulk_apis(exported, to, analyser):
    folder, engine = exported(to, analyser), Bulk(to)
    with serving(engine) as address:
        for _ in range(2):
            load(folder, address)
        assert_enough(check(folder, address))
    assert [request for request in engine.requests if request[0] == "PUT"] == [("PUT", "/passages")]
    assert {docid: row["text"] for docid, row in engine.documents.items()} == dict(DOCUMENTS)


def test_vespa(exported):
    folder, engine = exported("vespa"), Vespa()
    with serving(engine) as address:
        load(folder, address)
        assert_enough(check(folder, address))
    assert {row["docid"]: row["text"] for row in engine.documents.values()} == dict(DOCUMENTS)
    schema = (folder / "application/schemas/passages.sd").read_text("utf-8")
    assert schema.count("{") == schema.count("}") and "tensor<float>(v[32])" in schema


def test_what_an_engine_says_is_told_without_the_password(exported):
    folder, engine = exported("opensearch"), Bulk("elasticsearch")  # a mapping that is not its own
    with serving(engine) as address, pytest.raises(DataError, match=r"HTTP 400.*") as raised:
        load(folder, address.replace("//", "//user:secret@"))
    assert "secret" not in str(raised.value)
    with pytest.raises(DataError, match="cannot be reached"):
        load(folder, "http://127.0.0.1:9")
    with pytest.raises(RecipeError, match="an address such as"):
        load(folder, "localhost")


def test_names_ids_and_texts_that_an_engine_does_not_take(tmp_path):
    def made(documents):
        return encoded_texts(MadeEncoder(), documents, ["問い"], {})

    for name in ("a; DROP TABLE b", "A", "../up", 'x"', ""):
        with pytest.raises(RecipeError, match="small letters"):
            export(made([("1", "文")]), "pgvector", tmp_path / "out", name, "kuromoji")
    refused = {"pgvector": ("1", "文\0"), "opensearch": ("長" * 200, "文")}
    for to, document in refused.items():
        with pytest.raises(DataError, match="docid"):
            export(made([document]), to, tmp_path / "out", "passages", "kuromoji")
    with pytest.raises(DataError, match="stands twice"):
        export(made([("1", "文"), ("1", "章")]), "parquet", tmp_path / "out", "passages", "kuromoji")
    assert not (tmp_path / "out").exists()


def test_vectors_of_tokens_go_only_where_they_can(tmp_path):
    source = Source(4, True, False, iter([]))
    with pytest.raises(RecipeError, match="Take one of: qdrant, lancedb, vespa, parquet"):
        export(source, "pgvector", tmp_path / "out", "passages", "kuromoji")


def test_recall_counts_what_ties_with_the_tenth():
    answers = Answers([], [[str(number) for number in range(12)]], [[1.0] * 9 + [0.5, 0.5, 0.4]])
    assert answers.recall([[*map(str, range(9)), "10"]]) == 1.0
    assert answers.recall([[*map(str, range(9)), "11"]]) == 0.9


def test_a_missing_package_is_told(exported, monkeypatch):
    monkeypatch.setitem(sys.modules, "lancedb", None)
    with pytest.raises(RecipeError, match=r"pip install 'ruri-kedro\[engines\]'"):
        load(exported("lancedb"), "anywhere")


def test_a_line_of_bulk_is_one_document_whatever_it_holds(exported):
    folder = exported("elasticsearch")
    lines = [line for path in sorted(folder.glob("bulk-*")) for line in path.read_bytes().split(b"\n")[:-1]]
    assert len(lines) == 2 * len(DOCUMENTS)
    assert [json.loads(line)["index"]["_id"] for line in lines[::2]] == [docid for docid, _ in DOCUMENTS]


def assert_enough(recall):
    assert recall.exact >= 0.99 and recall.index >= 0.95, str(recall)
