"""kedro ruri index build, add, delete and search."""

import json

import pytest
from click.testing import CliRunner
from tiny import TEXTS, save_tiny_late, tiny_encoder

from ruri_kedro.cli import cli


@pytest.fixture(scope="module")
def late(tmp_path_factory):
    return save_tiny_late(tmp_path_factory.mktemp("late") / "model")


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """An empty folder, with two files of documents, and the parameters that the package brings."""
    from kedro.framework.project import configure_project

    configure_project("ruri_kedro")
    monkeypatch.chdir(tmp_path)
    for name, texts in (("first", TEXTS[:20]), ("second", TEXTS[20:])):
        rows = [{"docid": f"{name}{i}", "title": "", "text": text} for i, text in enumerate(texts)]
        (tmp_path / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    return tmp_path


def run(*command):
    return CliRunner().invoke(cli, ["ruri", "index", *map(str, command)])


def test_documents_are_indexed_added_deleted_and_found(folder, late):
    built = run("build", folder / "fir*.jsonl", "--model", late, "--out", "index")
    assert built.exit_code == 0, built.output
    assert "index: 20 documents" in built.output
    added = run("add", "index", "second.jsonl", "--model", late)
    assert f"index: {len(TEXTS)} documents" in added.output, added.output
    found = run("search", "index", TEXTS[0], TEXTS[25], "--model", late, "-k", 3)
    lines = found.output.splitlines()
    assert lines[0] == TEXTS[0] and lines[1].split()[:2] == ["1", "first0"], found.output
    assert lines[4] == TEXTS[25] and lines[5].split()[:2] == ["1", "second5"]
    (folder / "gone.txt").write_text("second5\n", "utf-8")
    deleted = run("delete", "index", "first0", "--file", "gone.txt")
    assert f"index: {len(TEXTS) - 2} documents" in deleted.output, deleted.output
    left = run("search", "index", TEXTS[0], TEXTS[25], "--model", late, "-k", 50)
    assert "first0 " not in left.output and "second5 " not in left.output


@pytest.mark.parametrize(
    ("command", "message"),
    [
        (("delete", ".", "x"), "there is no index of token vectors"),
        (("delete", "."), "no docid is given"),
        (("build", "none.jsonl", "--model", "MODEL", "--out", "index"), "'none.jsonl': no task or source"),
        (
            ("build", "first.jsonl", "--model", "encoder", "--out", "index"),
            "'local/encoder' has no vector for each",
        ),
    ],
)
def test_what_cannot_be_is_one_line_and_leaves_nothing(folder, late, command, message):
    if "encoder" in command:
        tiny_encoder().save_pretrained(str(folder / "encoder"))
    done = run(*(late if part == "MODEL" else part for part in command))
    assert done.exit_code == 1 and message in done.output, done.output
    assert not (folder / "index").exists()
