"""A challenger is untrusted input: what is stored with it is not run when it is judged, loaded, exported or served."""

import hashlib
import json
import os
import pickle
import shutil
import socket
import tarfile
from pathlib import Path

import numpy as np
import pytest
import yaml
from kedro_project import REPOSITORY
from malicious import ATTACKS, MODULE, edit, plant
from registered import NAME, PROMOTION, evidence_of_reranker, register, stored
from tiny import tiny_encoder

from ruri_kedro.errors import RegistryError
from ruri_kedro.models.base import with_unit_vectors
from ruri_kedro.registry.checked_models import CheckedModels
from ruri_kedro.registry.evidence.evidence import write_manifest
from ruri_kedro.registry.promotion.promote import judge_version
from ruri_kedro.registry.publishing.exporting import export_version
from ruri_kedro.registry.versions import models
from ruri_kedro.registry.versions import registered as versions
from ruri_kedro.registry.versions.saved_models import model_folder
from ruri_kedro.registry.versions.stored import RERANKER_CODE, RERANKER_CODES, foreign_faults

RERANKER = "ruri-reranker-tiny"
PARTS = {NAME: "model.sentence_transformer", RERANKER: "artifacts/reranker"}
REGISTERED_BY_0_1 = REPOSITORY / "tests/fixtures/registered_by_0_1.tar.xz"


@pytest.fixture(scope="module")
def both(empty_store, folders, tmp_path_factory):
    """A store with both kinds of model, registered with evidence."""
    import mlflow

    root = tmp_path_factory.mktemp("both")
    shutil.copy(empty_store, root / "mlflow.db")
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("MLFLOW_TRACKING_URI", raising=False)
        mlflow.set_tracking_uri(f"sqlite:///{root / 'mlflow.db'}")
        mlflow.set_experiment(experiment_id=mlflow.create_experiment("both", (root / "mlruns").as_uri()))
        register(folders / "embedder")
        with mlflow.start_run():
            models.register_reranker(folders / "reranker", RERANKER, {}, evidence_of_reranker())
    return root


@pytest.fixture
def version(both, tmp_path, monkeypatch, request):
    """The folder and the name of a registered version (default: the embedder), which is put back after the test."""
    import mlflow
    from mlflow.store.artifact.artifact_repository_registry import get_registered_artifact_repositories

    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    mlflow.set_tracking_uri(f"sqlite:///{both / 'mlflow.db'}")
    monkeypatch.setitem(get_registered_artifact_repositories(), "models", CheckedModels)
    name = getattr(request, "param", NAME)
    root = stored(1, both, name)
    shutil.copytree(root, tmp_path / "sound")
    signed = versions.version_of(name, 1).tags[versions.SIGNED]
    yield root, name
    shutil.rmtree(root)
    shutil.copytree(tmp_path / "sound", root)
    sign(name, signed)


@pytest.fixture
def marker(tmp_path, monkeypatch) -> Path:
    """A file that the code of a challenger would write; its module can also be imported."""
    marker = tmp_path / "marker"
    (tmp_path / "importable").mkdir()
    plant(tmp_path / "importable", marker)
    monkeypatch.syspath_prepend(str(tmp_path / "importable"))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("MLFLOW_ALLOW_PICKLE_DESERIALIZATION", "true")
    return marker


def sign(name: str, digest: str) -> None:
    import mlflow

    mlflow.MlflowClient().set_model_version_tag(name, "1", versions.SIGNED, digest)


def ways(name: str, out: Path) -> list:
    """Everything that loads a version or hands out its files."""
    import mlflow

    uri = f"models:/{name}@challenger"
    return [
        lambda: versions.load(uri),
        lambda: versions.fetch(name, "challenger", fresh(out / "fetched")),
        lambda: model_folder(uri),
        lambda: export_version(name, 1, out / "exported", False, {"tasks": {}}, out, None),
        lambda: mlflow.pyfunc.load_model(uri),
        lambda: mlflow.sentence_transformers.load_model(uri),
        lambda: mlflow.artifacts.download_artifacts(uri),
        lambda: mlflow.artifacts.download_artifacts(uri, dst_path=str(fresh(out / "downloaded"))),
    ]


def refused(version: tuple[Path, str], out: Path, number: int | None) -> list[str]:
    """What is said of the version by each way, or by the one in turn; every way has to refuse it."""
    chosen = ways(version[1], out)
    said = []
    for way in chosen if number is None else [chosen[number % len(chosen)]]:
        with pytest.raises(RegistryError) as error:
            way()
        said.append(str(error.value))
        assert said[-1].startswith(f"{version[1]} version 1 is not to be trusted: ") and "\n" not in said[-1]
    return said


def fresh(folder: Path) -> Path:
    """An empty folder."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    return folder


def gates(name: str) -> dict[str, str]:
    """The reason of each gate that does not let the version pass."""
    return {v.gate: v.reason for v in judge_version({**PROMOTION, "model": name}).verdicts if not v.passed}


def mlmodel(root: Path, flavor: str = "python_function", **values) -> None:
    path = root / "MLmodel"
    found = yaml.safe_load(path.read_text("utf-8"))
    found["flavors"].setdefault(flavor, {}).update(values)
    path.write_text(yaml.safe_dump(found), "utf-8")


def loader(root: Path) -> None:
    mlmodel(root, loader_module=MODULE)


def code_path(root: Path) -> None:
    (root / "code").mkdir()
    shutil.move(root / f"{MODULE}.py", root / "code/sentence_transformers.py")
    mlmodel(root, code="code")


def other_flavor(root: Path) -> None:
    mlmodel(root, "sklearn", pickled_model="model.pkl", serialization_format="pickle")


def pickled_model(root: Path) -> None:
    (root / "python_model.pkl").write_bytes(pickle.dumps(None))
    mlmodel(root, loader_module="mlflow.pyfunc.model", python_model="python_model.pkl")


def pickled_under_another_name(root: Path) -> None:
    """By loader and path alone: the file has a name that registration writes."""
    (root / "input_example.json").write_bytes(pickle.dumps(None))
    mlmodel(root, loader_module="mlflow.pyfunc.model", python_model="input_example.json")


def other_method(root: Path) -> None:
    mlmodel(root, predict_fn="load_context")


def files_elsewhere(root: Path) -> None:
    mlmodel(root, data="../../elsewhere")


def artifacts_elsewhere(root: Path) -> None:
    mlmodel(root, artifacts={"model": {"path": "../../elsewhere", "uri": ""}})


def changed_code(root: Path) -> None:
    shutil.move(root / f"{MODULE}.py", root / RERANKER_CODE)


def one_byte_of_code(root: Path) -> None:
    (root / RERANKER_CODE).write_bytes((root / RERANKER_CODE).read_bytes() + b"\n")


def other_code(root: Path) -> None:
    mlmodel(root, model_code_path=f"{MODULE}.py")


def package_from_elsewhere(root: Path) -> None:
    (root / "requirements.txt").write_text("evil @ file:///tmp/evil\n", "utf-8")


def option_of_pip(root: Path) -> None:
    path = root / "conda.yaml"
    path.write_text(
        path.read_text("utf-8").replace("  - mlflow", "  - --index-url=http://elsewhere\n  - mlflow"), "utf-8"
    )


def build_dependency(root: Path) -> None:
    path = root / "python_env.yaml"
    path.write_text(path.read_text("utf-8").replace("build_dependencies:\n", "build_dependencies:\n- evil\n"), "utf-8")


def no_yaml(root: Path) -> None:
    (root / "MLmodel").write_text("flavors: [", "utf-8")


def pickled_weights(root: Path) -> None:
    (part,) = (root / part for part in PARTS.values() if (root / part).is_dir())
    (part / "pytorch_model.bin").write_bytes(pickle.dumps(None))


def tokenizer_in_code(root: Path) -> None:
    (part,) = (root / part for part in PARTS.values() if (root / part).is_dir())
    edit(part / "tokenizer_config.json", auto_map={"AutoTokenizer": [f"{MODULE}.Evil", None]})


# What is done to a version's folder, by kind of model, and what the error says.
ON_VERSIONS = [
    (NAME, loader, "MLmodel: python_function.loader_module is 'planted"),
    (NAME, code_path, "MLmodel: python_function.code is 'code'"),
    (NAME, other_flavor, "MLmodel: flavour 'sklearn'"),
    (NAME, pickled_model, "python_model.pkl is not a file that"),
    (NAME, pickled_under_another_name, "MLmodel: python_function.python_model is not a key"),
    (NAME, files_elsewhere, "MLmodel: python_function.data is '../../elsewhere'"),
    (NAME, other_method, "MLmodel: python_function.predict_fn is not a key"),
    (NAME, package_from_elsewhere, "requirements.txt: 'evil @ file"),
    (NAME, option_of_pip, "conda.yaml: '--index-url"),
    (NAME, build_dependency, "python_env.yaml: 'evil'"),
    (NAME, no_yaml, "MLmodel is not as registration writes it"),
    (NAME, pickled_weights, "model.sentence_transformer/pytorch_model.bin is not a file that"),
    (NAME, tokenizer_in_code, "tokenizer_config.json: auto_map names Python code"),
    (RERANKER, loader, "MLmodel: python_function.loader_module is 'planted"),
    (RERANKER, changed_code, "reranker_model.py is not this package's code"),
    (RERANKER, one_byte_of_code, "reranker_model.py is not this package's code"),
    (RERANKER, other_code, "MLmodel: python_function.model_code_path is 'planted"),
    (RERANKER, artifacts_elsewhere, "MLmodel: python_function.artifacts is"),
    (RERANKER, pickled_weights, "artifacts/reranker/pytorch_model.bin is not a file that"),
]


def attacked(version, marker: Path, out: Path, attack, said: str, number: int | None) -> None:
    """The attacker registered the version: manifest and tag fit what is there."""
    root, name = version
    planted = plant(root, marker)
    attack(root)
    if attack is not other_code:  # the file that it names; all others import the module
        planted.unlink(missing_ok=True)
    sign(name, write_manifest(root))
    assert any(said in fault for fault in foreign_faults(root))
    assert all(said in text for text in refused(version, out, number))
    if number is None or number % 4 == 0:
        found = gates(name)
        assert said in found["code"] and found["probe"] == "not judged: code failed"
    assert not marker.exists()


BY_KIND = pytest.mark.parametrize(
    ("version", "number"),
    [(name, number) for number, (name, *_) in enumerate(ON_VERSIONS)],
    indirect=["version"],
    ids=[f"{name}-{attack.__name__}" for name, attack, _ in ON_VERSIONS],
)


@BY_KIND
def test_code_stored_with_a_challenger_is_not_run(version, number, tmp_path, marker):
    attacked(version, marker, tmp_path, *ON_VERSIONS[number][1:], number)


@pytest.mark.slow
@BY_KIND
def test_code_stored_with_a_challenger_is_not_run_by_any_way(version, number, tmp_path, marker):
    attacked(version, marker, tmp_path, *ON_VERSIONS[number][1:], None)


@pytest.mark.parametrize("version", PARTS, indirect=True)
@pytest.mark.parametrize("thorough", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_code_that_a_model_names_is_not_run(version, tmp_path, marker, thorough):
    root, name = version
    sound = tmp_path / "sound" / PARTS[name]
    for number, attack in enumerate(ATTACKS.values()):
        shutil.rmtree(root / PARTS[name])
        shutil.copytree(sound, root / PARTS[name])
        attack(root / PARTS[name])
        sign(name, write_manifest(root))
        said = refused(version, tmp_path, None if thorough else number)
        assert all(f"trusted: {PARTS[name]}/" in text for text in said)
        if thorough or number == 0:
            assert f"{PARTS[name]}/" in gates(name)["code"]
    assert not marker.exists()


@pytest.mark.parametrize("version", PARTS, indirect=True)
def test_a_version_whose_tag_is_left_out_is_no_way_around(version, tmp_path, marker):
    import mlflow

    root, name = version
    mlflow.MlflowClient().delete_model_version_tag(name, "1", versions.SIGNED)
    assert mlflow.pyfunc.load_model(f"models:/{name}@challenger") and model_folder(f"models:/{name}@challenger")
    plant(root, marker)
    loader(root)
    refused(version, tmp_path, None)
    found = gates(name)
    assert "no SHA-256 of" in found["manifest"] and "loader_module" in found["code"]
    assert not marker.exists()


def test_a_part_of_a_version_is_looked_at_alone(version, tmp_path):
    import mlflow

    root, name = version
    edit(root / "model.sentence_transformer/config.json", auto_map={"AutoModel": f"{MODULE}.Evil"})
    sign(name, write_manifest(root))
    uri = f"models:/{name}/1"
    for part in ("model.sentence_transformer", ""):
        with pytest.raises(RegistryError, match=r"config\.json: auto_map names Python code"):
            mlflow.artifacts.download_artifacts(f"{uri}/{part}")
    assert mlflow.artifacts.download_artifacts(f"{uri}/model.sentence_transformer/1_Pooling")
    loader(root)
    sign(name, write_manifest(root))
    with pytest.raises(RegistryError, match=r"MLmodel: python_function\.loader_module"):
        mlflow.artifacts.download_artifacts(f"{uri}/MLmodel")


def test_vectors_of_a_registered_embedder_have_length_1(store, tmp_path):
    """As its card says, by every loader."""
    import mlflow

    with_unit_vectors(tiny_encoder()).save_pretrained(str(tmp_path / "embedder"))
    register(tmp_path / "embedder")
    uri, texts = f"models:/{NAME}@challenger", ["東京の駅", "山"]
    for vectors in (
        versions.load(uri).encode(texts),
        mlflow.sentence_transformers.load_model(uri).encode(texts),
        mlflow.pyfunc.load_model(uri).predict(texts, params={"prompt_name": "query"}),
    ):
        np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-6)
    assert not {"code", "manifest", "probe"} & gates(NAME).keys()


@pytest.mark.parametrize("version", PARTS, indirect=True)
def test_a_version_as_it_was_registered_passes(version, folders):
    from sentence_transformers import CrossEncoder, SentenceTransformer

    root, name = version
    assert list(foreign_faults(root)) == []
    assert not {"code", "manifest", "probe"} & gates(name).keys()
    kind = {NAME: SentenceTransformer, RERANKER: CrossEncoder}[name]
    assert type(versions.load(name)) is kind


def test_judging_does_not_import_the_code_beside_a_reranker(version, monkeypatch):
    """Sound code neither: the classes of this package read the model."""
    import mlflow

    def load(*_, **__):
        raise AssertionError("MLflow loads the model")

    monkeypatch.setattr(mlflow.pyfunc, "load_model", load)
    monkeypatch.setattr(mlflow.sentence_transformers, "load_model", load)
    for name in PARTS:
        assert "probe" not in gates(name)
        assert versions.load(name)


def link_a_file(root: Path, elsewhere: Path) -> str:
    """A link to a file with the same content."""
    shutil.move(root / "model.sentence_transformer/config.json", elsewhere)
    (root / "model.sentence_transformer/config.json").symlink_to(elsewhere)
    return "model.sentence_transformer/config.json is a symbolic link"


def link_a_folder(root: Path, elsewhere: Path) -> str:
    shutil.move(root / "model.sentence_transformer", elsewhere)
    (root / "model.sentence_transformer").symlink_to(elsewhere)
    return "model.sentence_transformer is a symbolic link"


def link_the_evidence(root: Path, elsewhere: Path) -> str:
    shutil.move(root / "evidence", elsewhere)
    (root / "evidence").symlink_to(elsewhere)
    return "evidence is a symbolic link"


def link_the_manifest(root: Path, elsewhere: Path) -> str:
    shutil.move(root / "evidence/manifest.json", elsewhere)
    (root / "evidence/manifest.json").symlink_to(elsewhere)
    return "evidence/manifest.json is a symbolic link"


def link_where_mlflow_writes(root: Path, elsewhere: Path) -> str:
    """MLflow writes name and number of the version into this file of a store on this machine."""
    elsewhere.write_text("mine", "utf-8")
    (root / "registered_model_meta").unlink(missing_ok=True)
    (root / "registered_model_meta").symlink_to(elsewhere)
    return "registered_model_meta is a symbolic link"


def link_without_end(root: Path, elsewhere: Path) -> str:
    (root / "endless").symlink_to("/dev/zero")
    return "endless is a symbolic link"


def link_to_nothing(root: Path, elsewhere: Path) -> str:
    (root / "nothing").symlink_to(elsewhere)
    return "nothing is a symbolic link"


def pipe(root: Path, elsewhere: Path) -> str:
    """Whoever reads it waits for ever."""
    os.mkfifo(root / "evidence/extra.json")
    return "evidence/extra.json is neither a file nor a folder"


def connection(root: Path, elsewhere: Path) -> str:
    here = os.getcwd()
    os.chdir(root)
    try:
        with socket.socket(socket.AF_UNIX) as opened:
            opened.bind("socket")
    finally:
        os.chdir(here)
    return "socket is neither a file nor a folder"


def flipped(name: str):
    def change(root: Path, elsewhere: Path) -> str:
        path = root / name
        data = bytearray(path.read_bytes())
        data[len(data) // 2] ^= 1
        path.write_bytes(bytes(data))
        return f"{name} has SHA-256"

    change.__name__ = f"a bit of {name}"
    return change


def emptied(root: Path, elsewhere: Path) -> str:
    (root / "model.sentence_transformer/config.json").write_bytes(b"")
    return "model.sentence_transformer/config.json has 0 bytes"


def removed(root: Path, elsewhere: Path) -> str:
    (root / "model.sentence_transformer/tokenizer.json").unlink()
    return "model.sentence_transformer/tokenizer.json is missing"


def folder_in_place_of_a_file(root: Path, elsewhere: Path) -> str:
    (root / "requirements.txt").unlink()
    (root / "requirements.txt").mkdir()
    return "requirements.txt is missing"


def added(root: Path, elsewhere: Path) -> str:
    (root / "model.sentence_transformer/extra.json").write_text("{}", "utf-8")
    return "model.sentence_transformer/extra.json is not in the manifest"


def renamed(root: Path, elsewhere: Path) -> str:
    (root / "model.sentence_transformer/modules.json").rename(root / "model.sentence_transformer/Modules.json")
    return "model.sentence_transformer/modules.json is missing"


def no_manifest(root: Path, elsewhere: Path) -> str:
    (root / "evidence/manifest.json").unlink()
    return "evidence/manifest.json is missing"


def manifest_of_another_form(root: Path, elsewhere: Path) -> str:
    (root / "evidence/manifest.json").write_text('{"filez": {}}', "utf-8")
    return "evidence/manifest.json has SHA-256"


FLIPPED = ("MLmodel", "conda.yaml", "requirements.txt", "model.sentence_transformer/model.safetensors",
           "model.sentence_transformer/tokenizer.json", "model.sentence_transformer/modules.json",
           "model.sentence_transformer/README.md", "evidence/scores.parquet", "evidence/training.json",
           "evidence/manifest.json")  # fmt: skip
TAMPERED = [
    link_a_file, link_a_folder, link_the_evidence, link_the_manifest, link_where_mlflow_writes, link_without_end,
    link_to_nothing, pipe, connection, emptied, removed, folder_in_place_of_a_file, added, renamed, no_manifest,
    manifest_of_another_form, *map(flipped, FLIPPED),
]  # fmt: skip


@pytest.mark.parametrize("number", range(len(TAMPERED)), ids=[tamper.__name__ for tamper in TAMPERED])
@pytest.mark.parametrize("thorough", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_a_changed_version_is_not_loaded_and_the_file_is_named(version, tmp_path, number, thorough):
    name, elsewhere = version[1], tmp_path / "elsewhere"
    said = TAMPERED[number](version[0], elsewhere)
    for text in refused(version, tmp_path, None if thorough else number):
        assert said in text
        # Of a manifest that is another one nothing else is said.
        assert "manifest.json" not in said or ";" not in text
    if thorough or number % 6 == 0:
        found = gates(name)["manifest"]
        assert said in found or (TAMPERED[number] is no_manifest and "unsigned" in found)
    if TAMPERED[number] is link_where_mlflow_writes:
        assert elsewhere.read_text("utf-8") == "mine"


def test_a_link_in_a_champion_is_a_fault_of_its_evidence(version):
    (version[0] / "evidence/endless.json").symlink_to("/dev/zero")
    assert versions.logged_evidence(version[1], 1).faults == ("evidence/endless.json is a symbolic link",)


def test_every_byte_of_the_manifest_is_one_message(version):
    """Changed to anything, it is read by nobody."""
    root, name = version
    path = root / "evidence/manifest.json"
    data = path.read_bytes()
    expected = versions.version_of(name, 1).tags[versions.SIGNED]
    for place in range(0, len(data), 7):
        path.write_bytes(data[:place] + bytes([data[place] ^ 0x20]) + data[place + 1 :])
        (fault,) = versions.check_manifest(root, expected)
        assert fault.startswith("evidence/manifest.json has SHA-256")


@pytest.mark.parametrize(
    "text",
    ["[]", '{"files": []}', '{"files": {"MLmodel": 1}}', '{"files": {"MLmodel": {"size": "1", "sha256": "0"}}}',
     '{"files": {"../x": {"size": 1, "sha256": "0"}}}', '{"files": {"/etc/passwd": {"size": 1, "sha256": "0"}}}',
     "[" * 100_000, "no JSON"],
    ids=lambda text: text[:24],
)  # fmt: skip
def test_a_signed_manifest_of_another_form_is_one_message(version, text):
    root, name = version
    path = root / "evidence/manifest.json"
    path.write_text(text, "utf-8")
    sign(name, hashlib.sha256(path.read_bytes()).hexdigest())
    with pytest.raises(RegistryError, match=r"trusted: evidence/manifest\.json is not as registration writes it\.$"):
        versions.load(name)
    assert "is not as registration writes it" in gates(name)["manifest"]


@pytest.mark.parametrize(
    ("file", "value"),
    [("probe", []), ("probe", {"kind": "embedder", "pairs": [1]}), ("probe", {"kind": "reranker", "pairs": [{}]}),
     ("tests", []), ("training", {"sources": 1}), ("contamination", {"tests": 1, "stages": {"a": 1}})],
)  # fmt: skip
def test_signed_evidence_of_another_form_is_refused_without_a_traceback(version, file, value):
    root, name = version
    (root / f"evidence/{file}.json").write_text(json.dumps(value), "utf-8")
    sign(name, write_manifest(root))
    assert gates(name)


def test_a_kind_that_the_folder_is_not_is_refused(version):
    root, name = version
    edit(root / "evidence/probe.json", kind="reranker")
    sign(name, write_manifest(root))
    with pytest.raises(RegistryError, match=r"probe\.json: kind 'reranker' is not that of the model"):
        versions.load(name)
    assert "the folder of one reranker is expected" in gates(name)["probe"]


def test_the_code_of_the_reranker_is_among_those_that_are_known():
    path = Path(models.__file__).with_name(RERANKER_CODE)
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    assert digest in RERANKER_CODES, f"add {digest} to RERANKER_CODES, and keep those that are there"
    assert len(set(RERANKER_CODES)) == len(RERANKER_CODES) >= 2


@pytest.fixture
def old(store, tmp_path, monkeypatch):
    """Versions that 0.1 registered, byte for byte, in a store: the folder of each by name."""
    import mlflow
    from mlflow.store.artifact.artifact_repository_registry import get_registered_artifact_repositories

    monkeypatch.setitem(get_registered_artifact_repositories(), "models", CheckedModels)
    with tarfile.open(REGISTERED_BY_0_1) as archive:
        archive.extractall(tmp_path / "old", filter="data")
    client = mlflow.MlflowClient()
    roots = {}
    for kind in ("embedder", "reranker"):
        said = json.loads((tmp_path / f"old/{kind}.json").read_text("utf-8"))
        with mlflow.start_run() as run:
            model = client.create_logged_model(run.info.experiment_id, kind, source_run_id=run.info.run_id)
        client.log_model_artifacts(model.model_id, str(tmp_path / "old" / kind))
        client.finalize_logged_model(model.model_id, "READY")
        client.create_registered_model(said["name"])
        client.create_model_version(said["name"], model.artifact_location, tags=said["tags"], model_id=model.model_id)
        client.set_registered_model_alias(said["name"], "challenger", "1")
        roots[said["name"]] = tmp_path / "old" / kind
    return roots


def test_versions_that_0_1_registered_are_loaded_by_everything(old, tmp_path):
    import mlflow
    import pandas as pd

    for name, root in old.items():
        probe = json.loads((root / "evidence/probe.json").read_text("utf-8"))["pairs"]
        expected = [row["score"] for row in probe]
        assert not {"manifest", "code", "signature", "evidence", "probe"} & gates(name).keys()
        loaded, served = versions.load(name), mlflow.pyfunc.load_model(f"models:/{name}@challenger")
        if name == RERANKER:
            frame = pd.DataFrame(probe)[["query", "passage"]]
            np.testing.assert_allclose(loaded.predict(frame.values.tolist()), expected, atol=1e-6)
            np.testing.assert_allclose(served.predict(frame), expected, atol=1e-6)
        else:
            texts = [row["query"] for row in probe]
            vectors = loaded.encode(texts, prompt_name="query")
            assert np.array_equal(served.predict(texts, params={"prompt_name": "query"}), vectors)
            assert type(mlflow.sentence_transformers.load_model(f"models:/{name}@challenger")) is type(loaded)
        assert versions.fetch(name, "challenger", tmp_path / f"fetched-{name}").is_dir()


def test_what_0_1_registered_names_nothing_of_this_package(old):
    """So it loads wherever the modules of this package move."""
    for root in old.values():
        for path in root.rglob("*"):
            if path.is_file() and path.name != "MLmodel":  # it has the path of the code as it was logged
                assert b"ruri_kedro" not in path.read_bytes(), path
    assert (old[RERANKER] / RERANKER_CODE).is_file()
