"""The dataset classes: what is loaded is complete, what is refused says why."""

import inspect
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from kedro.io import AbstractDataset, DatasetError
from kedro.io.core import Version

from ruri_kedro.datasets import FolderDataset, MarkdownDataset, ModelFolder, PageDataset, RawFolder, TableDataset
from ruri_kedro.tables import Part
from ruri_kedro.tables.files import write_json


def passages(text: str, key: str = "1") -> Part:
    row = {"docid": text, "source": "s", "title": "", "section": "", "text": text}
    return Part(key, lambda: [[row]])


def broken(*_) -> None:
    raise RuntimeError("the disk is full")


class Model:
    """Writes two files, as a model does; `after` is called between them."""

    def __init__(self, weights: str, after=lambda: None) -> None:
        self.weights, self.after = weights, after

    def save_pretrained(self, path: str) -> None:
        (Path(path) / "1_Pooling").mkdir()
        (Path(path) / "1_Pooling" / "config.json").write_text("{}")
        (Path(path) / "modules.json").write_text("[]")
        self.after()
        (Path(path) / "model.safetensors").write_text(self.weights)


@pytest.fixture
def table(tmp_path) -> TableDataset:
    return TableDataset(filepath=str(tmp_path / "passages"), schema="passages")


def test_table_is_a_lazy_handle(table):
    assert not table.exists()
    table.save({"a": passages("山"), "b": passages("川")})
    assert table.exists()
    assert [row["text"] for row in table.load().iter_rows()] == ["山", "川"]
    assert table.fingerprint() == (table.load().digest(), 2)


def test_table_drops_the_parts_that_are_not_named(table):
    table.save({"a": passages("山"), "b": passages("川")})
    table.save({"b": passages("海", key="2")})
    assert [row["text"] for row in table.load().iter_rows()] == ["海"]


def test_empty_table_is_a_table(table):
    table.save({})
    assert table.exists() and table.load().rows() == 0


def test_table_with_a_part_missing_is_not_loaded(table):
    with pytest.raises(DatasetError, match="disk is full"):
        table.save({"a": passages("山"), "b": Part("1", broken)})
    assert not table.exists()
    with pytest.raises(DatasetError, match=r"no complete table here. Run the pipeline"):
        table.load()
    table.save({"a": passages("山"), "b": passages("川")})
    assert table.load().rows() == 2


def test_table_names_the_schemas_there_are():
    with pytest.raises(DatasetError, match=r"no schema 'passage'. There are: passages, pairs"):
        TableDataset(filepath="x", schema="passage")


def test_table_preview_is_one_kedro_viz_knows(table):
    assert table.preview()["data"] == []
    table.save({"a": passages("山" * 300)})
    preview = table.preview(nrows=5)
    assert preview["columns"] == ["docid", "source", "title", "section", "text"]
    assert preview["data"][0][4] == "山" * 200 + "…"
    assert inspect.signature(table.preview).return_annotation.__name__ == "TablePreview"


def test_markdown_is_previewed_as_html_without_marks_that_kedro_viz_would_read_again(tmp_path):
    report = MarkdownDataset(filepath=str(tmp_path / "report.md"))
    table = "| model | **best** |\n| --- | --- |\n| a_b_c | [SEP] <b> |\n"
    report.save(f"---\nlicence: other\n---\n# ruri_kedro\n\n{table}\n```\none\ntwo\n```\n")
    shown = report.preview()
    assert "<h1>ruri kedro</h1>" in shown and "<th><strong>best</strong></th>" in shown and "<td>a b c</td>" in shown
    assert "one<br>two" in shown and "&lt;b&gt;" in shown and "licence" not in shown
    assert not set("\n_*`[]") & set(shown)


def test_a_page_is_previewed_by_its_body(tmp_path):
    page = PageDataset(filepath=str(tmp_path / "page.html"))
    page.save(
        "<!DOCTYPE html>\n<html>\n<head>\n<title>x</title>\n</head>\n<body>\n<h1>stage_1</h1>\n\n</body>\n</html>\n"
    )
    assert page.preview() == "<html> <body> <h1>stage 1</h1> </body> </html>"


def test_datasets_are_built_from_the_catalog(tmp_path):
    config = {"type": "ruri_kedro.datasets.TableDataset", "filepath": str(tmp_path), "schema": "pairs"}
    dataset = AbstractDataset.from_config("pairs", {**config, "metadata": {"kedro-viz": {"layer": "primary"}}})
    assert dataset.metadata == {"kedro-viz": {"layer": "primary"}}
    model = {"type": "ruri_kedro.datasets.ModelFolder", "filepath": str(tmp_path / "m"), "versioned": True}
    assert AbstractDataset.from_config("m", model, save_version="v1").resolve_save_version() == "v1"


def test_raw_folder_is_read_only_and_says_how_to_get_it(tmp_path):
    raw = RawFolder(filepath=str(tmp_path / "raw"))
    with pytest.raises(DatasetError, match=r"no such folder. Restore it .*raw_root=FOLDER"):
        raw.load()
    (tmp_path / "raw" / "deep").mkdir(parents=True)
    (tmp_path / "raw" / "deep" / "a.txt").write_text("a")
    assert raw.load() == tmp_path / "raw"
    before = raw.fingerprint()
    (tmp_path / "raw" / "deep" / "a.txt").write_text("b")
    assert raw.fingerprint() != before
    with pytest.raises(DatasetError, match="read only"):
        raw.save({})


def test_a_recipe_on_the_hub_does_without_a_raw_folder(tmp_path):
    raw = RawFolder(filepath=str(tmp_path / "nowhere"), needed=False)
    assert raw.exists() and raw.load() == tmp_path / "nowhere"
    (tmp_path / "empty").mkdir()
    assert raw.fingerprint() == RawFolder(filepath=str(tmp_path / "empty")).fingerprint()


def test_folders_are_built_once_and_stale_ones_removed(tmp_path):
    dataset = FolderDataset(filepath=str(tmp_path / "indexes"))

    def build(folder: Path) -> None:
        write_json(folder / "manifest.json", {"key": folder.name})

    dataset.save({"a": build, "b": build})
    first = dataset.fingerprint()
    dataset.save({"b": build})
    assert sorted(path.name for path in dataset.load().iterdir()) == ["b", "manifest.json"]
    assert dataset.fingerprint() != first
    with pytest.raises(DatasetError, match="disk is full"):
        dataset.save({"b": build, "c": broken})
    assert not dataset.exists()
    with pytest.raises(DatasetError, match="left no manifest"):
        dataset.save({"d": lambda folder: None})


def test_model_versions_are_kept_and_the_newest_is_loaded(tmp_path):
    for version in ("2026-01-01T00.00.00.000Z", "2026-01-02T00.00.00.000Z"):
        ModelFolder(filepath=str(tmp_path / "m"), version=Version(None, version)).save(Model(version))
    newest = ModelFolder(filepath=str(tmp_path / "m"), version=Version(None, None))
    assert newest.load() == tmp_path / "m" / "2026-01-02T00.00.00.000Z" / "m"
    assert (newest.load() / "model.safetensors").read_text() == "2026-01-02T00.00.00.000Z"
    pinned = ModelFolder(filepath=str(tmp_path / "m"), version=Version("2026-01-01T00.00.00.000Z", None))
    assert pinned.load().parent.name == "2026-01-01T00.00.00.000Z"
    assert pinned.fingerprint() != newest.fingerprint()


def test_half_written_model_is_no_version(tmp_path):
    good, bad = "2026-01-01T00.00.00.000Z", "2026-01-02T00.00.00.000Z"
    ModelFolder(filepath=str(tmp_path / "m"), version=Version(None, good)).save(Model("w"))
    with pytest.raises(DatasetError, match="disk is full"):
        ModelFolder(filepath=str(tmp_path / "m"), version=Version(None, bad)).save(Model("w", after=broken))
    (tmp_path / "m" / "2026-01-03T00.00.00.000Z" / "m").mkdir(parents=True)
    dataset = ModelFolder(filepath=str(tmp_path / "m"), version=Version(None, None))
    assert dataset.exists() and dataset.load().parent.name == good


def test_killed_writer_leaves_no_model(tmp_path):
    program = (
        "import os, sys; sys.path.insert(0, sys.argv[2]); from test_datasets import Model\n"
        "from ruri_kedro.datasets import ModelFolder\n"
        "ModelFolder(filepath=sys.argv[1]).save(Model('new', after=lambda: os.kill(os.getpid(), 9)))"
    )
    dataset = ModelFolder(filepath=str(tmp_path / "m"))
    dataset.save(Model("old"))
    done = subprocess.run([sys.executable, "-c", program, str(tmp_path / "m"), os.path.dirname(__file__)])
    assert done.returncode == -signal.SIGKILL
    assert (dataset.load() / "model.safetensors").read_text() == "old"
    dataset.save(Model("new"))
    assert (dataset.load() / "model.safetensors").read_text() == "new"
    assert [path.name for path in tmp_path.iterdir()] == ["m"]


def test_damaged_model_is_refused(tmp_path):
    dataset = ModelFolder(filepath=str(tmp_path / "m"))
    assert not dataset.exists()
    with pytest.raises(DatasetError, match="no complete model here"):
        dataset.load()
    dataset.save(Model("weights"))
    (tmp_path / "m" / "model.safetensors").write_text("w")
    with pytest.raises(DatasetError, match=r"model.safetensors has 1 bytes, not 7"):
        dataset.load()
    (tmp_path / "m" / "model.safetensors").write_text("weightz")
    with pytest.raises(DatasetError, match=r"model.safetensors has SHA-256 .*, not "):
        dataset.load()
    (tmp_path / "m" / "model.safetensors").unlink()
    with pytest.raises(DatasetError, match=r"model.safetensors is missing"):
        dataset.load()
