"""Files that are kept as published: compared by checksum, or held to the checksum of the first fetch."""

import gzip
import hashlib
import json
from pathlib import Path

import pytest
from file_server import FileServer, Reply
from recipes import recipe

from ruri_kedro.corpora.fetch import download as downloading
from ruri_kedro.corpora.fetch.__main__ import main
from ruri_kedro.corpora.fetch.copies import Copy
from ruri_kedro.corpora.fetch.fetch import command_for, fetch, read_spec
from ruri_kedro.errors import DataError

SHARED = Path(__file__).resolve().parents[3] / "shared" / "data" / "ja"
URL = "https://files.example.org/set/file.tsv.gz"
BODY = gzip.compress(b"a\tb\n", mtime=0)
SHA256 = hashlib.sha256(BODY).hexdigest()


@pytest.fixture
def server():
    made = FileServer()
    yield made
    made.close()


@pytest.fixture(autouse=True)
def no_waiting(monkeypatch):
    monkeypatch.setattr(downloading, "_WAIT", 0.0)
    monkeypatch.delenv("HF_ENDPOINT", raising=False)


def serve(server: FileServer, url: str, answer) -> None:
    server.files[f"/{url.removeprefix('https://')}"] = answer


def known(sha256: str | None = SHA256) -> Copy:
    return Copy("set/file.tsv.gz", "CC0", URL, sha256)


def test_a_file_is_kept_as_it_is_and_fetched_once(server, tmp_path, capsys):
    serve(server, URL, BODY)
    for _ in range(2):
        fetch([known()], tmp_path, server.url)
    assert (tmp_path / "set/file.tsv.gz").read_bytes() == BODY and len(server.asked) == 1
    assert capsys.readouterr().out == f"set/file.tsv.gz: {len(BODY)} bytes (CC0)\nset/file.tsv.gz: there (CC0)\n"
    assert [path.name for path in tmp_path.iterdir()] == ["set"]


@pytest.mark.parametrize("damage", [b"<html>log in first</html>", BODY[:-3], b""])
def test_another_file_is_refused_and_leaves_none(server, tmp_path, damage):
    serve(server, URL, lambda times: damage if times == 0 else BODY)
    with pytest.raises(DataError, match=rf"^set: {server.url}/.*: sha256 .* came, not {SHA256[:12]}. Fetch again"):
        fetch([known()], tmp_path, server.url)
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]
    fetch([known()], tmp_path, server.url)
    assert (tmp_path / "set/file.tsv.gz").read_bytes() == BODY


def test_a_changed_file_is_fetched_again(server, tmp_path):
    serve(server, URL, BODY)
    fetch([known()], tmp_path, server.url)
    (tmp_path / "set/file.tsv.gz").write_bytes(BODY[:-1])
    fetch([known()], tmp_path, server.url)
    assert (tmp_path / "set/file.tsv.gz").read_bytes() == BODY and len(server.asked) == 2


def test_without_a_checksum_the_first_fetch_is_the_known_one(server, tmp_path, capsys):
    serve(server, URL, BODY)
    lock = tmp_path / "conf/checksums.yml"
    fetch([known(None)], tmp_path / "raw", server.url, checksums=lock)
    assert f"no checksum was known: {lock} holds its checksum, commit it" in capsys.readouterr().out
    assert lock.read_text().endswith(f'"set/file.tsv.gz": "{SHA256}"\n')
    fetch([known(None)], tmp_path / "raw", server.url, checksums=lock)
    assert len(server.asked) == 1
    serve(server, URL, b"another")  # on another machine, with the same lock
    with pytest.raises(DataError, match=f"came, not {SHA256[:12]}"):
        fetch([known(None)], tmp_path / "other", server.url, checksums=lock)
    fetch([known(None)], tmp_path / "other", server.url, accept_changes=True, checksums=lock)
    assert hashlib.sha256(b"another").hexdigest() in lock.read_text()


def test_a_change_that_was_accepted_is_the_known_file_from_then_on(server, tmp_path):
    serve(server, URL, b"another")
    for accept in (True, False):
        fetch([known()], tmp_path, server.url, accept_changes=accept)
    assert len(server.asked) == 1 and (tmp_path / "set/file.tsv.gz").read_bytes() == b"another"


@pytest.mark.parametrize("text", ["- a", "a: b", "{", "a: 1"])
def test_a_file_of_checksums_of_another_form_is_named(tmp_path, text):
    (tmp_path / "checksums.yml").write_text(text)
    with pytest.raises(DataError, match=r"checksums\.yml.*Restore it, or remove it to begin anew"):
        fetch([known(None)], tmp_path, "http://127.0.0.1:9")


@pytest.mark.parametrize("answer", [404, 401, 403, Reply(BODY[:9], announced=len(BODY))])
def test_what_cannot_be_had_is_one_error(server, tmp_path, answer):
    serve(server, URL, answer)
    with pytest.raises(DataError, match=r"^set: http://127.*(HTTP 40\d|cannot be fetched)"):
        fetch([known()], tmp_path, server.url)


def test_files_of_the_hub_come_from_its_endpoint(server, tmp_path, monkeypatch):
    monkeypatch.setenv("HF_ENDPOINT", f"{server.url}/hub/")
    server.files["/hub/datasets/o/n/resolve/abc/x.gz"] = BODY
    fetch([Copy("set/x.gz", "CC0", "https://huggingface.co/datasets/o/n/resolve/abc/x.gz", SHA256)], tmp_path)
    assert (tmp_path / "set/x.gz").read_bytes() == BODY


def test_every_copy_of_ruri_is_pinned():
    copies = [file for file in read_spec("ruri") if isinstance(file, Copy)]
    assert len(copies) == 22 and len({copy.path for copy in copies}) == 22
    assert [copy.path for copy in copies if copy.sha256 is None] == ["miracl/miracl_hard_negs_1000.json"]
    assert all(copy.licence and ".." not in copy.path and copy.url.startswith("https://") for copy in copies)


def test_all_that_the_papers_recipe_reads_beside_the_hub_is_fetched():
    """Each local path of its sources and tasks fits a file, and each file a path."""
    from ruri_kedro.benchmark.tasks.stored import local_paths
    from ruri_kedro.corpora.source import parse_sources

    params, raw = recipe("ruri"), Path("data/01_raw/ruri")
    paths = {path for source in parse_sources(params["sources"]).values() if not source.hub for path in source.paths}
    paths |= {path for spec in params["tasks"].values() for path in local_paths(spec)}
    commands = {path: command_for(path, raw) for path in paths}
    sets = {file.corpus for file in read_spec("ruri")}
    assert {command.rpartition("--only ")[2] for command in commands.values()} == sets
    assert all(command.startswith("python -m ruri_kedro.corpora.fetch ruri --only ") for command in commands.values())
    assert command_for("jaquad/train.jsonl.gz", Path("data/01_raw/mini")).endswith("fetch mini --only jaquad")
    assert command_for("jaquad/train.jsonl.gz", Path("x")).endswith(" --only jaquad --out x")
    assert command_for("mine.csv", raw) is None


def stored(path: Path) -> list[dict]:
    with gzip.open(path, "rt", encoding="utf-8") as handle:
        return [json.loads(line) for line in handle]


def topics_and_judgments(rows: list[dict]) -> dict[str, bytes]:
    """MIRACL's published form, of its queries as they are known."""
    graded = [(row["qid"], docid, grade) for row in rows for side, grade in (("positives", 1), ("negatives", 0))
              for docid in row.get(side, [])]  # fmt: skip
    return {
        "topics": "".join(f"{row['qid']}\t{row['query']}\n" for row in rows).encode(),
        "qrels": "".join(f"{qid}\tQ0\t{docid}\t{grade}\n" for qid, docid, grade in graded).encode(),
    }


def test_what_is_converted_is_that_of_mini():
    """Whose rows, from the published forms, fit the checksums (test_fetch.py)."""
    converted = [file for file in read_spec("ruri") if not isinstance(file, Copy)]
    assert {file.corpus for file in converted} == {"jaquad", "janli", "jsquad"}
    assert all(file in read_spec("mini") for file in converted)


def serve_all(server: FileServer) -> None:
    """The files of ruri: real topics and judgments in their published form, stand-ins of the rest."""
    published = Path(__file__).parents[1] / "fixtures/sources"
    passages = published / "miracl/miracl-corpus-v1.0-ja/docs-0.jsonl.gz"
    for file in (file for file in read_spec("ruri") if isinstance(file, Copy)):
        if "miracl-v1.0-ja" in file.path:
            kind, split = file.path.split("/")[2], "train" if "train" in file.path else "dev"
            made = topics_and_judgments(stored(SHARED / f"miracl/{split}.jsonl.gz"))[kind]
        elif file.path.endswith(".json"):
            made = b'{"0": {"docids": ["1#0"]}}'
        else:
            made = (published / file.path if (published / file.path).exists() else passages).read_bytes()
        serve(server, file.url, made)


@pytest.mark.skipif(not SHARED.is_dir(), reason="needs the evaluation data beside the repository")
def test_ruri_is_fetched_and_read_by_its_recipe(server, tmp_path, capsys, monkeypatch):
    from ruri_kedro.corpora.rows import check_first_row
    from ruri_kedro.corpora.source import parse_sources

    monkeypatch.chdir(tmp_path)
    (tmp_path / "conf/ruri").mkdir(parents=True)
    serve_all(server)
    assert main(["ruri", "--base-url", server.url, "--only", "miracl"]) == 1
    captured = capsys.readouterr()
    assert "docs-0.jsonl.gz: sha256" in captured.err and captured.err.count("\n") == 1, "the passages are stand-ins"
    assert captured.out.count("miracl-v1.0-ja-") == 4, "topics and judgments are the known ones"
    sets = ("miracl", "mkqa", "wiki_atomic_edits")
    assert main(["ruri", "--base-url", server.url, "--accept-changes", "--only", *sets]) == 0
    lock = (tmp_path / "conf/ruri/checksums.yml").read_text()
    assert "miracl_hard_negs_1000.json" in lock and "topics" not in lock
    sources = recipe("ruri")["sources"]
    rows = {name: sources[name] for name in ("miracl_passages", "wiki_atomic_edits")}
    rows["mkqa"] = {**sources["mkqa"], "collection": "miracl_passages"}
    for source in parse_sources(rows).values():
        for place in source.inputs:
            check_first_row(source, tmp_path / "data/01_raw/ruri", place)
