"""Search by all systems: what the service finds is what the libraries find by themselves."""

import numpy as np
import pytest
from fastapi.testclient import TestClient
from sentence_transformers import CrossEncoder, MultiVectorEncoder, SentenceTransformer
from service import SERVICE, start, write_documents
from tiny import TEXTS

from ruri_kedro.errors import RecipeError
from ruri_kedro.search.fusion import reciprocal_rank_fusion
from ruri_kedro.service import indexes
from ruri_kedro.service.app import create_app
from ruri_kedro.service.inference import Embedder

QUERY = "東京の図書館はいつ建てた"


def searched(client, **more):
    answer = client.post("/search", json={"query": QUERY, **more})
    assert answer.status_code == 200, answer.text
    return answer.json()


def by_system(answer):
    return {(ranking["system"], ranking["model"]): ranking["hits"] for ranking in answer["rankings"]}


def test_dense_search_is_that_of_sentence_transformers(client, folders):
    model = SentenceTransformer(str(folders / "embedder"), device="cpu")
    asked = model.encode([QUERY], prompt_name="query", normalize_embeddings=True)
    given = model.encode(TEXTS, prompt_name="document", normalize_embeddings=True)
    expected = (asked @ given.T)[0]
    hits = by_system(searched(client, k=20))["dense", "embedder"]
    assert [hit["rank"] for hit in hits] == list(range(1, 21))
    scores = np.array([hit["score"] for hit in hits])
    np.testing.assert_allclose(scores, np.sort(expected)[::-1][:20], atol=2e-3)  # the vectors are kept as float16
    np.testing.assert_allclose(scores, [expected[int(hit["docid"][1:])] for hit in hits], atol=2e-3)


def test_late_interaction_is_max_sim_of_sentence_transformers(client, folders):
    model = MultiVectorEncoder(str(folders / "late"), device="cpu")
    expected = model.similarity(model.encode_query([QUERY]), model.encode_document(TEXTS))[0].numpy()
    hits = by_system(searched(client, k=5, compare=True))["late_interaction", "late"]
    best = np.sort(expected)[::-1][:5]
    found = [expected[int(hit["docid"][1:])] for hit in hits]
    assert np.mean(found) > 0.97 * np.mean(best)  # of residuals of 2 bits


def test_fusion_and_reranking_are_made_of_the_other_rankings(client, folders):
    answer = searched(client, k=20)
    found = by_system(answer)
    parts = [[hit["docid"] for hit in found[key]] for key in (("bm25", None), ("dense", "embedder"))]
    expected = reciprocal_rank_fusion(parts, SERVICE["rrf_k"])
    assert [hit["docid"] for hit in found["fused", "embedder"]] == [docid for docid, _ in expected][:20]

    model = CrossEncoder(str(folders / "reranker"), device="cpu")
    candidates = [hit["docid"] for hit in found["fused", "embedder"]][: SERVICE["candidates"]]
    scores = model.predict([(answer["query"], answer["documents"][docid]["text"]) for docid in candidates],
                           activation_fn=lambda logits: logits)  # fmt: skip
    reranked = found["reranked", "embedder"]
    assert {hit["docid"] for hit in reranked} == set(candidates)
    np.testing.assert_allclose([hit["score"] for hit in reranked], np.sort(scores)[::-1], atol=1e-4)


def test_systems_texts_and_models_are_chosen(client):
    answer = searched(client, systems=["bm25"], texts=False)
    assert [ranking["system"] for ranking in answer["rankings"]] == ["bm25"] and answer["documents"] == {}
    assert {ranking["model"] for ranking in searched(client, model="late")["rankings"]} == {None, "late"}
    assert client.post("/search", json={"query": "駅", "systems": ["splade"]}).status_code == 404
    refused = client.post("/search", json={"query": "駅", "model": "nobody"})
    assert refused.status_code == 404
    assert "There are: champion, embedder, late." in refused.json()["error"]["message"]


def test_words_of_the_query_are_marked(client):
    answer = searched(client, marks=True, systems=["bm25"])
    docid = answer["rankings"][0]["hits"][0]["docid"]
    document = answer["documents"][docid]
    marked = [document["text"][first:behind] for first, behind in document["marks"]]
    assert "東京" in marked and "図書館" in marked and "の" not in marked


def test_similarities_are_those_that_max_sim_sums(client, folders):
    docid = by_system(searched(client, compare=True))["late_interaction", "late"][0]["docid"]
    found = client.post("/similarities", json={"query": QUERY, "docid": docid, "model": "late"}).json()
    model = MultiVectorEncoder(str(folders / "late"), device="cpu")
    text = TEXTS[int(docid[1:])]
    expected = model.similarity(model.encode_query([QUERY]), model.encode_document([text]))[0, 0].item()
    matrix = np.array(found["similarities"])
    assert matrix.shape == (len(found["query"]), len(found["document"]))
    assert matrix.max(axis=1).sum() == pytest.approx(expected, abs=0.01)
    assert client.post("/similarities", json={"query": QUERY, "docid": "none", "model": "late"}).status_code == 404
    assert client.post("/similarities", json={"query": QUERY, "docid": docid}).status_code == 400


def test_a_second_start_encodes_nothing_and_answers_the_same(folders, tmp_path, monkeypatch):
    first = start(tmp_path, folders / "embedder")
    with TestClient(create_app(first)) as client:
        before = searched(client)["rankings"]
    encoded, real = [], Embedder.encode
    monkeypatch.setattr(Embedder, "encode", lambda self, items: encoded.extend(items) or real(self, items))
    with TestClient(create_app(start(tmp_path, folders / "embedder"))) as client:
        assert {role for role, _ in encoded} == {"query"}
        after = searched(client)["rankings"]
    assert [(one["system"], one["hits"]) for one in before] == [(one["system"], one["hits"]) for one in after]


def test_a_build_that_was_stopped_goes_on_where_it_was(folders, tmp_path, monkeypatch):
    monkeypatch.setattr(indexes, "_CACHE_BLOCK", 8)
    encoded, real = [], Embedder.encode

    def dies(self, items):
        if len(encoded) >= 16:
            raise KeyboardInterrupt
        encoded.extend(items)
        return real(self, items)

    monkeypatch.setattr(Embedder, "encode", dies)
    with pytest.raises(KeyboardInterrupt):
        start(tmp_path, folders / "embedder")
    done = {text for _, text in encoded}
    encoded.clear()
    monkeypatch.setattr(Embedder, "encode", lambda self, items: encoded.extend(items) or real(self, items))
    start(tmp_path, folders / "embedder")
    documents = [text for role, text in encoded if role == "document"]
    assert done.isdisjoint(documents) and done | set(documents) == set(TEXTS)


def test_a_document_is_found_by_its_docid(folders, tmp_path):
    path = tmp_path / "documents.csv"
    path.write_text("title,本文\n駅,東京の駅\n,ﾔﾏ\n", "utf-8")
    documents = start(tmp_path, folders / "embedder", collection=str(path)).deployment.documents
    assert list(documents) == [("0", "駅 東京の駅"), ("1", "ヤマ")]
    assert documents.text("1") == "ヤマ" and documents.text("9") is None and documents.text("") is None


def test_a_changed_file_is_another_collection(folders, tmp_path):
    write_documents(tmp_path / "documents.jsonl", TEXTS[:3])
    assert len(start(tmp_path, folders / "embedder").deployment.documents) == 3
    write_documents(tmp_path / "documents.jsonl", TEXTS[:4])
    assert len(start(tmp_path, folders / "embedder").deployment.documents) == 4


def test_a_reranker_cannot_take_the_place_of_a_model(folders, tmp_path):
    with pytest.raises(RecipeError, match=r"cannot search\. Give it as --reranker"):
        start(tmp_path, folders / "reranker")
    with pytest.raises(RecipeError, match="gives no scores for pairs"):
        start(tmp_path, folders / "embedder", reranker=folders / "other")
