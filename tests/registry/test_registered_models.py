"""Models are registered with their metrics, and come back by name and alias with the same numbers."""

import numpy as np
import pytest
from registered import evidence
from tiny import TEXTS, save_tiny_late

from ruri_kedro.errors import RegistryError
from ruri_kedro.registry.versions import models, registered
from ruri_kedro.registry.versions.registered import model_folder

ECHO = """import mlflow

class Echo(mlflow.pyfunc.PythonModel):
    def predict(self, context, model_input: list[str], params=None) -> list[str]:
        return model_input

mlflow.models.set_model(Echo())
"""
CHARACTERS = "日本で一番高い山は富士？のあるク文:。"


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """Folders of a tiny encoder with prompts and of a tiny cross-encoder, both of random weights."""
    import torch
    from sentence_transformers import CrossEncoder, SentenceTransformer
    from tokenizers import Tokenizer, pre_tokenizers
    from tokenizers.models import WordLevel
    from transformers import ModernBertConfig, ModernBertModel, PreTrainedTokenizerFast

    root = tmp_path_factory.mktemp("models")
    special = {"pad_token": "[PAD]", "unk_token": "[UNK]", "cls_token": "[CLS]", "sep_token": "[SEP]"}
    vocabulary = {token: number for number, token in enumerate([*special.values(), *CHARACTERS])}
    tokenizer = Tokenizer(WordLevel(vocabulary, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Split("", "isolated")
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, **special).save_pretrained(root / "base")
    torch.manual_seed(0)
    config = ModernBertConfig(
        vocab_size=len(vocabulary), hidden_size=16, intermediate_size=16, num_hidden_layers=1, num_attention_heads=2,
        pad_token_id=0, cls_token_id=2, bos_token_id=2, sep_token_id=3, eos_token_id=3,
    )  # fmt: skip
    ModernBertModel(config).save_pretrained(root / "base")
    encoder = SentenceTransformer(str(root / "base"), device="cpu", prompts={"query": "ク:", "document": "文:"})
    encoder.save_pretrained(str(root / "encoder"))
    CrossEncoder(str(root / "base"), num_labels=1, device="cpu").save_pretrained(str(root / "reranker"))
    return root


def test_nothing_is_registered_without_a_run(store, folders):
    for register in (models.register_embedder, models.register_reranker, models.register_multi_vector):
        with pytest.raises(RegistryError, match="'ruri-tiny' cannot be registered: no MLflow run is open"):
            register(folders / "encoder", "ruri-tiny", {}, evidence())
    assert models.list_registered() == []


def test_embedder_comes_back_with_prompts_and_metrics(store, folders):
    import mlflow
    from sentence_transformers import SentenceTransformer

    with mlflow.start_run() as run:
        mlflow.log_metric("pretraining/loss", 9.0, step=0)
        for number in (1, 2):
            metrics = {"jsquad/ndcg@10": number / 10}
            version = models.register_embedder(folders / "encoder", "ruri-tiny", metrics, evidence())
            assert version == number
    original = SentenceTransformer(str(folders / "encoder"), device="cpu")
    loaded = mlflow.sentence_transformers.load_model("models:/ruri-tiny@challenger")
    assert dict(loaded.prompts) == {"query": "ク:", "document": "文:"}
    for prompt in ("query", "document"):
        expected = original.encode("富士の山", prompt_name=prompt)
        assert np.array_equal(loaded.encode("富士の山", prompt_name=prompt), expected)
        served = mlflow.pyfunc.load_model("models:/ruri-tiny@challenger")
        assert np.allclose(served.predict(["富士の山"], params={"prompt_name": prompt})[0], expected, atol=1e-6)
    old, new = models.registered_by(run.info.run_id)
    assert str(new) == "ruri-tiny version 2 (challenger)"
    assert (new.metrics, old.metrics) == ({"jsquad/ndcg_at_10": 0.2}, {"jsquad/ndcg_at_10": 0.1})
    assert old.aliases == () and models.list_registered() == [new]


def test_reranker_comes_back_as_a_reranker(store, folders):
    import mlflow
    import pandas as pd
    from sentence_transformers import CrossEncoder

    with mlflow.start_run():
        models.register_embedder(folders / "encoder", "ruri-tiny", {"ndcg@10": 0.1}, evidence())
        models.register_reranker(folders / "reranker", "ruri-reranker-tiny", {"ndcg@10": 0.7}, evidence())
    pairs = [("日本で一番高い山は？", "富士山"), ("日本で一番高い山は？", "日本")]
    loaded = mlflow.pyfunc.load_model("models:/ruri-reranker-tiny@challenger")
    scores = loaded.predict(pd.DataFrame(pairs, columns=["query", "passage"]))
    expected = CrossEncoder(str(folders / "reranker"), device="cpu").predict(pairs)
    assert np.allclose(scores, expected, atol=1e-6)
    reranker, embedder = models.list_registered()
    assert (reranker.metrics, embedder.metrics) == ({"ndcg_at_10": 0.7}, {"ndcg_at_10": 0.1})


def test_a_multi_vector_model_comes_back_with_all_that_it_does(store, tmp_path):
    import mlflow
    from sentence_transformers import MultiVectorEncoder

    save_tiny_late(tmp_path / "late")
    with mlflow.start_run():
        models.register_multi_vector(tmp_path / "late", "ruri-late", {"ndcg@10": 0.4}, evidence())
    loaded, original = registered.load("ruri-late"), MultiVectorEncoder(str(tmp_path / "late"), device="cpu")
    queries, passages = original.encode_query(TEXTS[:1]), original.encode_document(TEXTS[1:4])
    assert np.array_equal(loaded.encode_query(TEXTS[:1])[0], queries[0])
    served = mlflow.pyfunc.load_model("models:/ruri-late@challenger")
    for found, vectors in zip(served.predict(TEXTS[1:4]), passages, strict=True):
        assert np.allclose(found, vectors, atol=1e-6)
    assert np.allclose(served.predict(TEXTS[:1], params={"task": "query"})[0], queries[0], atol=1e-6)
    scores = served.predict(TEXTS[1:4], params={"task": "rerank", "query": TEXTS[0]})
    assert np.allclose(scores, original.similarity(queries, passages)[0], atol=1e-5)
    trial = registered.challenger_evidence("ruri-late", 1).trial
    assert trial.error is None and trial.deviation < 1e-5 and trial.latency_ms > 0


def test_requirements_name_no_local_build():
    lines = models.requirements()
    assert lines[-1].startswith("torch==") and all("+" not in line for line in lines)


def test_the_folder_of_a_registered_model(store, folders, tmp_path):
    import mlflow
    from sentence_transformers import CrossEncoder, SentenceTransformer

    (tmp_path / "echo.py").write_text(ECHO, "utf-8")
    with mlflow.start_run():
        models.register_embedder(folders / "encoder", "ruri-tiny", {}, evidence())
        models.register_reranker(folders / "reranker", "ruri-reranker-tiny", {}, evidence())
        mlflow.pyfunc.log_model(
            name="echo",
            python_model=str(tmp_path / "echo.py"),
            registered_model_name="echo",
            pip_requirements=["mlflow"],
        )
    for uri in ("models:/ruri-tiny@challenger", "models:/ruri-tiny/1"):
        loaded = SentenceTransformer(str(model_folder(uri)), device="cpu")
        expected = SentenceTransformer(str(folders / "encoder"), device="cpu").encode("富士の山")
        assert np.array_equal(loaded.encode("富士の山"), expected)
    pairs = [("日本で一番高い山は？", "富士山")]
    loaded = CrossEncoder(str(model_folder("models:/ruri-reranker-tiny/1")), device="cpu")
    assert np.array_equal(loaded.predict(pairs), CrossEncoder(str(folders / "reranker"), device="cpu").predict(pairs))
    with pytest.raises(RegistryError, match="model 'models:/echo/1' is of none of the kinds: embedder, reranker"):
        model_folder("models:/echo/1")
    with pytest.raises(RegistryError, match=r"'ruri-tiny' has no 'champion'\. `kedro ruri status` lists"):
        model_folder("models:/ruri-tiny@champion")
