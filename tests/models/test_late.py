"""Late interaction against MaxSim by its definition, on the forms in which such models are saved."""

import json
import shutil

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from tiny import PROMPTS, TEXTS, save_tiny_late, save_tiny_models
from transformers import AutoModel, AutoTokenizer

from ruri_kedro.models import late_interaction as late
from ruri_kedro.models.late_interaction import LateInteraction
from ruri_kedro.models.multi_vector import is_multi_vector, load_multi_vector

QUERIES = ["東京の駅はいつ建てたか。", "札幌", "美術館を直したのは誰か。"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return save_tiny_late(tmp_path_factory.mktemp("late") / "model")


@pytest.fixture(scope="module")
def pylate(folder):
    """The same weights as PyLate writes them: two modules, what they need in the configuration of the whole."""
    home = shutil.copytree(folder, folder.parent / "pylate")
    modules = json.loads((home / "modules.json").read_text("utf-8"))[:2]
    modules[1]["type"] = "pylate.models.Dense.Dense"
    (home / "modules.json").write_text(json.dumps(modules), "utf-8")
    own = {"model_type": "ColBERT", "query_prefix": "問 ", "document_prefix": "答 ", "query_length": 12,
           "document_length": 20, "do_query_expansion": False, "skiplist_words": ["。"],
           "similarity_fn_name": "MaxSim"}  # fmt: skip
    (home / "config_sentence_transformers.json").write_text(json.dumps(own), "utf-8")
    dense = json.loads((home / modules[1]["path"] / "config.json").read_text("utf-8"))
    for name in ("module_input_name", "module_output_name"):
        dense.pop(name, None)
    (home / modules[1]["path"] / "config.json").write_text(json.dumps(dense), "utf-8")
    return home


def max_sim(folder, queries, passages, prompts=PROMPTS, lengths=(None, None), left_out=()) -> np.ndarray:
    """float64 (queries, passages), a text and a pair at a time."""
    model, tokenizer = AutoModel.from_pretrained(folder).eval(), AutoTokenizer.from_pretrained(folder)
    [path] = folder.glob("*_Dense/model.safetensors")
    projection = load_file(path)["linear.weight"].double()
    hidden = set(tokenizer.convert_tokens_to_ids(list(left_out)))

    def vectors(text, length, hidden):
        tokens = tokenizer(text, return_tensors="pt", truncation=length is not None, max_length=length)
        with torch.no_grad():
            found = model(**tokens).last_hidden_state[0].double() @ projection.T
        kept = [number not in hidden for number in tokens["input_ids"][0].tolist()]
        return torch.nn.functional.normalize(found, dim=1).numpy()[kept]

    asked = [vectors(prompts["query"] + text, lengths[0], set()) for text in queries]
    given = [vectors(prompts["document"] + text, lengths[1], hidden) for text in passages]
    return np.array([[(query @ passage.T).max(axis=1).sum() for passage in given] for query in asked])


def test_all_pairs_are_max_sim(folder, monkeypatch):
    monkeypatch.setattr(late, "_BLOCK", 5)  # several blocks, the last not full
    model = LateInteraction(load_multi_vector(folder), chunk_tokens=256)
    expected = max_sim(folder, QUERIES, TEXTS[:12])
    assert np.allclose(model.search(QUERIES, TEXTS[:12]), expected, atol=1e-4)
    assert np.ptp(expected) > 0.1, "scores that differ"


def test_pairs_are_max_sim_in_their_order(folder):
    model = LateInteraction(load_multi_vector(folder), chunk_tokens=64)
    pairs = [(query, text) for text in TEXTS[:4] for query in QUERIES]
    expected = max_sim(folder, QUERIES, TEXTS[:4]).T.ravel()
    assert np.allclose(model.score(pairs), expected, atol=1e-4)


def test_a_folder_of_pylate_keeps_its_marks_lengths_and_skipped_tokens(pylate):
    model = LateInteraction(load_multi_vector(pylate), chunk_tokens=256)
    marks = {"query": "問 ", "document": "答 "}
    asked = {"prompts": marks, "lengths": (12, 20), "left_out": ["。"]}
    found = model.search(QUERIES, TEXTS[:6])
    assert np.allclose(found, max_sim(pylate, QUERIES, TEXTS[:6], **asked), atol=1e-4)
    assert not np.allclose(found, max_sim(pylate, QUERIES, TEXTS[:6], **asked | {"left_out": []}), atol=1e-4)


def test_a_folder_of_stanfords_code_keeps_its_projection(folder, tmp_path):
    [dense] = folder.glob("*_Dense/model.safetensors")
    projection = load_file(dense)["linear.weight"]
    for name in ("config.json", "tokenizer.json", "tokenizer_config.json"):
        shutil.copy(folder / name, tmp_path)
    config = json.loads((tmp_path / "config.json").read_text("utf-8")) | {"architectures": ["HF_ColBERT"]}
    (tmp_path / "config.json").write_text(json.dumps(config), "utf-8")
    save_file(load_file(folder / "model.safetensors") | {"linear.weight": projection}, tmp_path / "model.safetensors")
    (tmp_path / "artifact.metadata").write_text(json.dumps({"doc_maxlen": 20, "query_maxlen": 16}), "utf-8")
    assert is_multi_vector(str(tmp_path))
    model = load_multi_vector(tmp_path)
    assert torch.equal(model[1].linear.weight, projection) and model[0].document_length == 20
    assert np.isfinite(LateInteraction(model, 256).search(QUERIES, TEXTS[:3])).all()


def test_which_models_are_of_late_interaction(folder, pylate, tmp_path):
    others = save_tiny_models(tmp_path)
    assert is_multi_vector(str(folder)) and is_multi_vector(str(pylate))
    assert not any(is_multi_vector(str(others / name)) for name in ("embedder", "reranker"))
