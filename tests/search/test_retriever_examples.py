"""The examples of docs/engines.md: retrievers of LangChain and LlamaIndex, and hybrid search in PostgreSQL."""

import re

import pytest
from kedro_project import REPOSITORY
from made_vectors import MadeEncoder
from postgresql import postgresql
from tiny import TEXTS, tiny_encoder

from ruri_kedro.search.bm25.sudachi import term_splitter
from ruri_kedro.search.vector_stores.export import export, load
from ruri_kedro.search.vector_stores.sources import encoded_texts

PAGE = (REPOSITORY / "docs/engines.md").read_text("utf-8")
DOCUMENTS = [(f"文書-{number}", text) for number, text in enumerate(TEXTS)]
QUESTION = "富士山の高さは？"


def block(language, word):
    (found,) = (text for text in re.findall(rf"```{language}\n(.*?)```", PAGE, re.DOTALL) if word in text)
    return found


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    """A folder with a model and a table of its vectors."""
    from ruri_kedro.models.saved import SavedModel
    from ruri_kedro.search.vector_stores.encoding import SingleVectors

    pytest.importorskip("lancedb")
    folder = tmp_path_factory.mktemp("project")
    tiny_encoder().save_pretrained(str(folder / "model"))
    model = SavedModel.of(str(folder / "model"), "cpu")
    encoder = SingleVectors(model, model.prompts, 64, 1024)
    export(encoded_texts(encoder, DOCUMENTS, [QUESTION], {}), "lancedb", folder / "out", "passages", "kuromoji")
    load(folder / "out", str(folder / "exported/db"))
    return folder


def expected(folder):
    from sentence_transformers import SentenceTransformer

    model = SentenceTransformer(str(folder / "model"), device="cpu")
    query = model.encode(QUESTION, prompt_name="query", normalize_embeddings=True)
    scores = model.encode(TEXTS, prompt_name="document", normalize_embeddings=True) @ query
    return sorted(scores.tolist(), reverse=True)[:10], {docid: scores[n] for n, (docid, _) in enumerate(DOCUMENTS)}


def test_langchain(project, monkeypatch):
    pytest.importorskip("langchain_core")
    monkeypatch.chdir(project)
    names = {"__name__": "example"}
    exec(block("python", "langchain_core"), names)
    scores, by_docid = expected(project)
    found = names["documents"]
    assert [by_docid[document.metadata["docid"]] for document in found] == pytest.approx(scores, abs=1e-5)
    assert {(document.metadata["docid"], document.page_content) for document in found} <= set(DOCUMENTS)


def test_llama_index(project, monkeypatch):
    pytest.importorskip("llama_index.core", reason="llama-index-core is not among the development packages")
    monkeypatch.chdir(project)
    names = {"__name__": "example"}
    exec(block("python", "llama_index"), names)
    scores, by_docid = expected(project)
    assert [by_docid[node.node.node_id] for node in names["nodes"]] == pytest.approx(scores, abs=1e-5)
    assert [node.score for node in names["nodes"]] == pytest.approx(scores, abs=1e-4)


def test_hybrid_search_in_postgresql(tmp_path):
    psycopg2 = pytest.importorskip("psycopg2")
    encoder = MadeEncoder()
    export(encoded_texts(encoder, DOCUMENTS, [QUESTION], {}), "pgvector", tmp_path / "out", "passages", "kuromoji")
    with postgresql(["passages"], "vector") as address:
        database = address.replace("+psycopg2", "") + "/passages"
        load(tmp_path / "out", database)
        connection = psycopg2.connect(database)
        vector = str(encoder.queries([TEXTS[0]])[0].tolist())

        def found(question):
            with connection, connection.cursor() as cursor:
                words = term_splitter("c")(question)
                cursor.execute(block("sql", "by_vector"), {"vector": vector, "words": words})
                return [docid for docid, _ in cursor.fetchall()]

        assert found("紫陽花")[0] == DOCUMENTS[0][0], "no word of it is there: the nearest vector is first"
        first = dict(DOCUMENTS)[found("那覇の駅")[0]]
        assert "那覇" in first and "駅" in first
        connection.close()
