"""Our model folder by the rules of servers that read such folders, and by sentence-transformers' ONNX back end.

text-embeddings-inference (router/src/lib.rs) reads config.json with an architecture that it has, a fast tokenizer in
tokenizer.json, weights in model.safetensors, pooling as flags in 1_Pooling/config.json, the longest input from
sentence_bert_config.json, prompts from config_sentence_transformers.json, and normalises by itself. Infinity reads what
SentenceTransformer read before version 5.4.
"""

import json

import numpy as np
import pytest
from safetensors import safe_open
from sentence_transformers import SentenceTransformer
from sentence_transformers.base.modules import Normalize
from sentence_transformers.base.modules.dense import Dense
from sentence_transformers.sentence_transformer.modules import Pooling
from tiny import TEXTS, tiny_encoder
from tokenizers import Tokenizer

from ruri_kedro.datasets.models import HandedOn, ModelFolder

# Types of encoders that text-embeddings-inference has, among those of our base models.
ENCODERS = {"bert", "xlm-roberta", "roberta", "camembert", "distilbert", "modernbert"}


@pytest.fixture(scope="module")
def model():
    encoder = tiny_encoder()
    encoder.append(Normalize())
    return encoder


@pytest.fixture(scope="module")
def folder(model, tmp_path_factory):
    folder = tmp_path_factory.mktemp("saved") / "embedder"
    ModelFolder(filepath=str(folder)).save(model)
    return folder


def read(path):
    return json.loads(path.read_text("utf-8"))


def pool_of(folder):
    """As PoolConfig of text-embeddings-inference, whose first two flags have to be there."""
    config = read(folder / "1_Pooling/config.json")
    flags = {"cls": config["pooling_mode_cls_token"], "mean": config["pooling_mode_mean_tokens"],
             "lasttoken": config.get("pooling_mode_lasttoken", False)}  # fmt: skip
    return [name for name, flag in flags.items() if flag]


def test_text_embeddings_inference_finds_what_it_reads(folder):
    config = read(folder / "config.json")
    assert config["model_type"] in ENCODERS
    assert not any(name.endswith(("Classification", "MaskedLM")) for name in config["architectures"])
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    assert tokenizer.get_vocab_size() <= config["vocab_size"]
    with safe_open(folder / "model.safetensors", "numpy") as weights:
        assert any("embeddings" in name for name in weights.keys())  # noqa: SIM118 - not a mapping
    assert pool_of(folder) == ["mean"]
    assert read(folder / "sentence_bert_config.json")["max_seq_length"] == 64
    assert set(read(folder / "config_sentence_transformers.json")["prompts"]) >= {"query", "document"}


def test_pooling_by_the_first_token_is_said_as_such(model, tmp_path):
    first = SentenceTransformer(modules=[model[0], Pooling(model.get_embedding_dimension(), "cls")], device="cpu")
    ModelFolder(filepath=str(tmp_path / "first")).save(first)
    assert pool_of(tmp_path / "first") == ["cls"]


def test_the_folder_is_read_as_the_model_was_saved(model, folder):
    """By SentenceTransformer as it is installed: modules, pooling, length of inputs, vectors of length 1."""
    modules = read(folder / "modules.json")
    assert [module["type"].rsplit(".", 1)[-1] for module in modules] == ["Transformer", "Pooling", "Normalize"]
    assert all(module["type"].startswith("sentence_transformers.") for module in modules)
    assert not [*folder.rglob("*.py"), *folder.rglob("*.bin")]
    loaded = SentenceTransformer(str(folder), device="cpu")
    assert loaded.max_seq_length == model.max_seq_length == 64
    assert loaded[1].pooling_mode == "mean"
    long = ["富士山の高さ。" * 100]
    vectors = loaded.encode(TEXTS[:5] + long, prompt_name="query")
    assert np.array_equal(vectors, model.encode(TEXTS[:5] + long, prompt_name="query"))
    assert np.allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-6)


def test_older_versions_find_the_classes_and_options_that_they_have(folder):
    """Their constructors take no other keys, and end with an error."""
    assert [module["type"] for module in read(folder / "modules.json")] == [
        f"sentence_transformers.models.{name}" for name in ("Transformer", "Pooling", "Normalize")
    ]
    assert read(folder / "sentence_bert_config.json") == {"max_seq_length": 64}
    pooling = read(folder / "1_Pooling/config.json")
    flags = {key: pooling.pop(key) for key in list(pooling) if key.startswith("pooling_mode_")}
    assert len(flags) == 6 and pooling == {"word_embedding_dimension": 32, "include_prompt": True}
    assert read(folder / "tokenizer_config.json")["tokenizer_class"] == "PreTrainedTokenizerFast"


def test_a_model_with_newer_modules_keeps_its_keys(model, tmp_path):
    dense = Dense(model.get_embedding_dimension(), 16)
    newer = SentenceTransformer(modules=[model[0], model[1], dense, Normalize()], device="cpu")
    ModelFolder(filepath=str(tmp_path / "newer")).save(newer)
    assert pool_of(tmp_path / "newer") == ["mean"]
    assert "modality_config" in read(tmp_path / "newer/sentence_bert_config.json")
    loaded = SentenceTransformer(str(tmp_path / "newer"), device="cpu")
    assert np.array_equal(loaded.encode(TEXTS[:5]), newer.encode(TEXTS[:5]))


def test_a_model_that_is_handed_on_keeps_its_files(model, tmp_path):
    model.save_pretrained(str(tmp_path / "given"))
    ModelFolder(filepath=str(tmp_path / "kept")).save(HandedOn(tmp_path / "given"))
    for path in (tmp_path / "given").rglob("*.json"):
        assert path.read_bytes() == (tmp_path / "kept" / path.relative_to(tmp_path / "given")).read_bytes()


def test_the_onnx_back_end_of_sentence_transformers(model, folder, tmp_path):
    pytest.importorskip("optimum.onnxruntime", reason="optimum-onnx asks for a transformers before 5")
    from ruri_kedro.models.onnx import export_onnx

    export_onnx(folder, "embedder", tmp_path / "exported")
    found = SentenceTransformer(str(tmp_path / "exported"), backend="onnx", device="cpu")
    expected = model.encode(TEXTS[:5], prompt_name="query")
    assert np.allclose(found.encode(TEXTS[:5], prompt_name="query"), expected, atol=1e-4)
