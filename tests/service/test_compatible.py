"""The forms of OpenAI and text-embeddings-inference, and what operators ask."""

import base64
import threading

import numpy as np
import pytest
from sentence_transformers import CrossEncoder, SentenceTransformer

TEXTS = ["東京の駅", "京都の美術館は1901年に市が建てた。", "駅"]


@pytest.fixture(scope="module")
def expected(folders):
    return SentenceTransformer(str(folders / "embedder"), device="cpu").encode(TEXTS, normalize_embeddings=True)


def test_embeddings_in_the_form_of_openai(client, expected):
    answer = client.post("/v1/embeddings", json={"model": "champion", "input": TEXTS, "user": "somebody"}).json()
    assert answer["object"] == "list" and answer["model"] == "embedder"
    assert [row["index"] for row in answer["data"]] == [0, 1, 2]
    np.testing.assert_allclose([row["embedding"] for row in answer["data"]], expected, atol=1e-5)
    tokens = client.post("/v1/embeddings", json={"input": TEXTS[0]}).json()["usage"]
    assert 0 < tokens["prompt_tokens"] < answer["usage"]["total_tokens"]


def test_embeddings_as_base64_and_with_a_prompt(client, folders):
    body = {"input": TEXTS, "encoding_format": "base64", "prompt_name": "query"}
    rows = client.post("/v1/embeddings", json=body).json()["data"]
    found = [np.frombuffer(base64.b64decode(row["embedding"]), "<f4") for row in rows]
    model = SentenceTransformer(str(folders / "embedder"), device="cpu")
    np.testing.assert_allclose(found, model.encode(TEXTS, prompt_name="query", normalize_embeddings=True), atol=1e-5)


def test_vectors_in_the_form_of_text_embeddings_inference(client, expected):
    np.testing.assert_allclose(client.post("/embed", json={"inputs": TEXTS}).json(), expected, atol=1e-5)
    np.testing.assert_allclose(client.post("/embed", json={"inputs": TEXTS[0]}).json(), expected[:1], atol=1e-5)
    refused = client.post("/embed", json={"inputs": ["駅" * 200], "truncate": False})
    assert refused.status_code == 413 and refused.json()["error_type"] == "Validation"
    assert "tokens, allowed are 64" in refused.json()["error"]


def test_reranking_in_both_forms(client, folders):
    query = "東京の駅"
    logits = CrossEncoder(str(folders / "reranker"), device="cpu").predict(
        [(query, text) for text in TEXTS], activation_fn=lambda value: value
    )
    order = np.argsort(-logits, kind="stable")
    rows = client.post("/rerank", json={"query": query, "texts": TEXTS, "raw_scores": True, "return_text": True}).json()
    assert [row["index"] for row in rows] == order.tolist() and rows[0]["text"] == TEXTS[order[0]]
    np.testing.assert_allclose([row["score"] for row in rows], logits[order], atol=1e-4)
    found = client.post("/rerank", json={"query": query, "documents": TEXTS, "top_n": 2}).json()
    assert found["model"] == "reranker" and len(found["results"]) == 2
    scores = [row["relevance_score"] for row in found["results"]]
    np.testing.assert_allclose(scores, 1 / (1 + np.exp(-logits[order][:2])), atol=1e-4)


def test_another_model_is_not_there(client):
    for path, body in (("/v1/embeddings", {"input": "駅"}), ("/rerank", {"query": "駅", "documents": ["駅"]})):
        refused = client.post(path, json={**body, "model": "text-embedding-3-small"})
        assert refused.status_code == 404
    refused = client.post("/v1/embeddings", json={"input": "駅", "model": "late"})
    assert refused.status_code == 400 and "a vector for each token" in refused.json()["error"]["message"]


def test_simultaneous_requests_are_encoded_together(client, expected):
    answers = {}

    def ask(number):
        answer = client.post("/v1/embeddings", json={"input": TEXTS[number % 3]}).json()
        answers[number] = answer["data"][0]["embedding"]

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(24)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for number, vector in answers.items():
        np.testing.assert_allclose(vector, expected[number % 3], atol=1e-5)
    lines = client.get("/metrics").text.splitlines()
    counted = {line.rpartition(" ")[0]: float(line.rpartition(" ")[2]) for line in lines if not line.startswith("#")}
    batches = counted['ruri_batch_size_count{work="encode"}']
    assert batches < counted['ruri_batch_size_sum{work="encode"}']
    assert counted['ruri_requests_total{path="/v1/embeddings",status="200"}'] >= 24
    assert counted["process_resident_memory_bytes"] > 1e7
    assert 'ruri_model_info{place="model",model="embedder"}' in counted


def test_operation(client):
    assert client.get("/healthz").json() == {"status": "ok"}
    about = client.get("/about").json()
    assert about["systems"] == ["bm25", "dense", "late_interaction", "fused", "reranked"]
    assert about["models"] == {"model": "embedder", "compared": "late", "reranker": "reranker"}
    paths = client.get("/openapi.json").json()["paths"]
    assert {"/search", "/rerank", "/v1/embeddings", "/embed", "/healthz", "/metrics"} <= paths.keys()
