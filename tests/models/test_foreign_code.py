"""Code that comes with a model is never run, wherever the model is opened, and nobody is asked for leave."""

import ast
import shutil
from functools import cache
from pathlib import Path
from types import SimpleNamespace

import pytest
from kedro_project import REPOSITORY
from malicious import ATTACKS, MODULE, edit, plant
from sentence_transformers import SentenceTransformer
from sentence_transformers.base.modules import Dense, Normalize
from sentence_transformers.sentence_transformer.modules import LayerNorm, Pooling
from tiny import save_tiny_late, save_tiny_models, tiny_encoder
from transformers import AutoModelForSequenceClassification

from ruri_kedro.corpora.synthesis import local
from ruri_kedro.corpora.synthesis.settings import require_pinned
from ruri_kedro.errors import RecipeError
from ruri_kedro.models.base import build_cross_encoder, load_cross_encoder, load_encoder
from ruri_kedro.models.foreign_code import code_faults, refuse_code
from ruri_kedro.models.multi_vector import load_multi_vector
from ruri_kedro.models.onnx import export_onnx
from ruri_kedro.models.reference import EncoderReference
from ruri_kedro.models.saved import SavedModel


@pytest.fixture(scope="module")
def models(tmp_path_factory) -> Path:
    return save_tiny_models(tmp_path_factory.mktemp("models"))


@pytest.fixture
def marker(tmp_path, monkeypatch) -> Path:
    """A file that the code of a model would write. Its module can also be imported; whoever is asked says yes."""
    marker = tmp_path / "marker"
    (tmp_path / "importable").mkdir()
    plant(tmp_path / "importable", marker)
    monkeypatch.syspath_prepend(str(tmp_path / "importable"))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")

    def asked(*_):
        marker.write_text("asked", "utf-8")
        return "y"

    monkeypatch.setattr("builtins.input", asked)
    return marker


def opened(folder: Path) -> list:
    """Every way by which this package opens a model's folder."""
    name = str(folder)
    settings = SimpleNamespace(name=name, revision=None, device="cpu")
    return [
        lambda: load_encoder(folder),
        lambda: load_cross_encoder(folder),
        lambda: load_multi_vector(folder),
        lambda: build_cross_encoder(folder, 64, 0),
        lambda: SavedModel.of(name, device="cpu"),
        lambda: SavedModel("local/model", "0", name, "cpu").model,
        lambda: EncoderReference.of({"name": name}, folder),
        lambda: EncoderReference(name).model,
        lambda: require_pinned("synthesis.model", name, None),
        lambda: local._load(AutoModelForSequenceClassification, settings),
        lambda: export_onnx(folder, "embedder", folder.parent / "onnx"),
    ]


@pytest.mark.parametrize("attack", ATTACKS)
def test_code_of_a_model_is_not_run(models, tmp_path, marker, attack):
    folder = tmp_path / "model"
    shutil.copytree(models / "embedder", folder)
    plant(folder, marker)
    ATTACKS[attack](folder)
    for way in opened(folder):
        with pytest.raises(RecipeError, match=r"model '.*model' cannot be loaded: .*: .* is never run\. Give a model"):
            way()
    assert not marker.exists()


def test_an_architecture_in_code_is_named_and_nobody_is_asked(models, tmp_path, marker):
    """What kind of model it is stands in its configuration; transformers would ask whether to run the code."""
    folder = tmp_path / "model"
    shutil.copytree(models / "reranker", folder)
    plant(folder, marker)
    ATTACKS["unknown_architecture"](folder)
    with pytest.raises(RecipeError, match=rf"config\.json: auto_map names Python code \({MODULE}\.Evil\)"):
        SavedModel.of(str(folder))
    assert SavedModel("local/model", "0", str(folder)).is_cross_encoder
    assert not marker.exists()


def test_a_tokenizer_in_code_is_not_run_either(models, tmp_path, marker):
    """The class of transformers takes its place, or the model is refused."""
    folder = tmp_path / "model"
    shutil.copytree(models / "embedder", folder)
    plant(folder, marker)
    edit(folder / "tokenizer_config.json", auto_map={"AutoTokenizer": [f"{MODULE}.Evil", None]})
    edit(folder / "config.json", auto_map={"AutoTokenizer": f"{MODULE}.Evil"})
    assert load_encoder(folder).encode("駅").shape == (32,)
    load_encoder(folder).save_pretrained(str(tmp_path / "saved"))
    assert not list(code_faults(tmp_path / "saved", trusting=True))
    for name in ("config.json", "tokenizer_config.json"):
        assert f"{name}: auto_map names Python code ({MODULE}.Evil)" in list(code_faults(folder, trusting=True))
    assert not marker.exists()


def test_sound_models_are_loaded(models, tmp_path):
    modules = [tiny_encoder()[0], Pooling(32, pooling_mode="cls"), Dense(32, 8), LayerNorm(8), Normalize()]
    SentenceTransformer(modules=modules, device="cpu").save_pretrained(str(tmp_path / "own"))
    for folder in (tmp_path / "own", save_tiny_late(tmp_path / "late"), models / "embedder", models / "reranker"):
        assert not list(code_faults(folder, trusting=True))
    (tmp_path / "own/training_log.json").write_text("not JSON", "utf-8")
    (tmp_path / "own/training.py").write_text("raise SystemExit", "utf-8")
    refuse_code(tmp_path / "own")
    assert load_encoder(tmp_path / "own").get_embedding_dimension() == 8


@pytest.mark.parametrize(
    "name",
    [
        "sentence_transformers.models.Transformer",
        "sentence_transformers.models.Pooling.Pooling",
        "sentence_transformers.sentence_transformer.modules.pooling.Pooling",
        "sentence_transformers.cross_encoder.modules.logit_score.LogitScore",
        "sentence_transformers.sparse_encoder.models.SpladePooling",
    ],
)
def test_modules_under_old_and_new_names_are_known(tmp_path, name):
    edit(tmp_path / "config.json")
    (tmp_path / "modules.json").write_text(f'[{{"idx": 0, "name": "0", "path": "", "type": "{name}"}}]', "utf-8")
    assert not list(code_faults(tmp_path))


# Functions that open a model or a data set by its name, and classes that do so where they are given one.
LOADERS = {"from_pretrained", "load_dataset"}
CLASSES = {"SentenceTransformer", "CrossEncoder", "MultiVectorEncoder", "SparseEncoder"}


@cache
def calls() -> list[tuple[str, str, ast.Call]]:
    """Every call in the package: where it stands, the last part of what is called, and the call."""
    found = []
    for path in sorted((REPOSITORY / "src").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.Call):
                name = ast.unparse(node.func).rpartition(".")[2]
                place = f"{path.relative_to(REPOSITORY)}:{node.lineno} {ast.unparse(node.func)}"
                found.append((place, name, node))
    return found


def test_every_call_that_opens_a_model_says_that_its_code_is_not_trusted():
    loading = {
        place: {keyword.arg: ast.unparse(keyword.value) for keyword in node.keywords}.get("trust_remote_code")
        for place, name, node in calls()
        if (name in LOADERS or (name in CLASSES and node.args)) and "torch.nn." not in place  # given weights
    }
    assert len(loading) >= 6, "the calls are found"
    assert {place: given for place, given in loading.items() if given != "False"} == {}


def test_no_model_is_opened_by_mlflow_which_trusts_its_code():
    assert [place for place, name, _ in calls() if name == "load_model" and "mlflow" in place] == []
