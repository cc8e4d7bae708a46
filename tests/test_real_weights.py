"""A real pre-trained model through the machine: its published figures, and the ranks of sentence-transformers."""

from functools import partial
from pathlib import Path

import numpy as np
import pytest
from sentence_transformers import SentenceTransformer, util

from ruri_kedro.benchmark.scoring.evaluate import evaluate_embedder, summarize
from ruri_kedro.benchmark.tasks.load import load_task
from ruri_kedro.models.reference import EncoderReference

SHARED = Path(__file__).resolve().parents[2] / "shared"
MODEL, DATA = SHARED / "models/multilingual-e5-small-ja", SHARED / "data/ja"
PROMPTS = {"query": "query: ", "document": "passage: ", "sts": "query: "}
TASKS = {
    "jsts": {"type": "sts", "path": "jsts/valid.jsonl.gz"},
    "jsick": {
        "type": "sts",
        "path": "jsick/test.jsonl.gz",
        "fields": {"text1": "sentence_A_Ja", "text2": "sentence_B_Ja", "score": "relatedness"},
    },
    "jsquad": {"type": "retrieval", "shape": "qa", "path": "jsquad/valid.jsonl.gz"},
}

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(3600),  # twelve layers over a real collection
    pytest.mark.skipif(not MODEL.is_dir(), reason="the weights of multilingual-e5-small are not on this machine"),
]


@pytest.fixture(scope="module")
def encode():
    reference = EncoderReference(str(MODEL), device="cpu")

    def encode(texts, role):
        return reference.encode(texts, PROMPTS[role], 512, 8192, None)

    return encode


def scores(encode, name, metrics=None):
    rows = evaluate_embedder("e5", load_task(name, TASKS[name], DATA), encode, metrics=metrics)
    (line,) = summarize(rows).to_dicts()
    return line


@pytest.mark.parametrize(("name", "published"), [("jsts", 0.7863), ("jsick", 0.8239)])
def test_similarity_of_sentences_is_what_it_was_measured_to_be(encode, name, published):
    assert scores(encode, name)[f"{name}/spearman"] == pytest.approx(published, abs=0.001)


def test_retrieval_is_what_it_was_measured_to_be(encode):
    found = scores(encode, "jsquad", ("recall@1", "recall@5", "recall@10", "ndcg@10"))
    for depth, published in ((1, 0.827), (5, 0.947), (10, 0.970)):
        assert found[f"jsquad/recall@{depth}"] == pytest.approx(published, abs=0.01)


def test_each_query_ranks_documents_as_with_sentence_transformers(encode):
    task = load_task("jsquad", TASKS["jsquad"], DATA)
    queries, documents = list(task.queries.values())[:300], list(task.corpus.values())[:400]
    plain = SentenceTransformer(str(MODEL), device="cpu", model_kwargs={"dtype": "float32"})
    read = partial(plain.encode, normalize_embeddings=True, batch_size=16)
    theirs = util.cos_sim(read(queries, prompt="query: "), read(documents, prompt="passage: ")).numpy()
    ours = encode(queries, "query") @ encode(documents, "document").T
    np.testing.assert_allclose(ours, theirs, atol=2e-6)
    # Ranks are the same but where two scores are closer than float32 tells apart.
    ranked = np.argsort(-theirs, axis=1, kind="stable")
    in_order = np.take_along_axis(ours, ranked, axis=1)
    assert (np.diff(in_order, axis=1) <= 4e-6).all()
    assert (np.argsort(-ours, axis=1, kind="stable")[:, 0] == ranked[:, 0]).all()
