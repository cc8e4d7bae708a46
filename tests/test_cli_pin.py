"""`kedro ruri pin` on a hub that answers as the real one does."""

import gzip
import json
import shutil
from pathlib import Path

import pytest
from click.testing import CliRunner
from hub_repositories import commit_of, hub_repositories
from kedro_project import REPOSITORY

from ruri_kedro.cli.commands import cli
from ruri_kedro.corpora import hub_facts
from ruri_kedro.recipe.revisions import Repository, read_revisions

PAIRS = [{"anchor": f"前{i}", "positive": f"後{i}", "label": i} for i in range(3)]
SOURCES = """
sources:
  pairs: {kind: pair, hub: {id: o/pairs}, path: data/*.jsonl.gz}
  branch: {kind: pair, hub: {id: o/pairs, ref: refs/convert/parquet}, path: data/*.jsonl.gz}
  given: {kind: pair, hub: {id: o/pinned, revision: "%s"}, path: data/*.jsonl.gz}
  jaquad: {kind: question_to_passage, path: jaquad/train.jsonl.gz, fields: {text: context}}
  own: {kind: unsupervised, path: mine/texts.txt}
tasks:
  test: {type: sts, hub: {id: o/test, path: test.jsonl.gz}, fields: {text1: anchor, text2: positive, score: label}}
base_model: {name: o/bert, revision: null, ref: refs/pr/2}
""" % ("c" * 40)  # fmt: skip


def write_rows(path: Path, rows: list[dict]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(gzip.compress("".join(json.dumps(row) + "\n" for row in rows).encode()))


@pytest.fixture
def hub(tmp_path, monkeypatch):
    with hub_repositories() as hub:
        for name in ("o/pairs", "o/pinned"):
            write_rows(tmp_path / "sets" / name / "data/train.jsonl.gz", PAIRS)
        write_rows(tmp_path / "sets/o/test/test.jsonl.gz", PAIRS)
        model = tmp_path / "models/o/bert"
        model.mkdir(parents=True)
        (model / "model.safetensors").write_bytes(b"x" * 1234)
        (model / "pytorch_model.bin").write_bytes(b"x" * 99_999)
        hub.add(tmp_path / "sets")
        hub.add(tmp_path / "models", "models")
        hub.refs = {"o/pairs": ["refs/convert/parquet"], "o/bert": ["refs/pr/2"]}
        hub.facts = {"o/pairs": {"cardData": {"license": "cc-by-4.0"}}, "o/bert": {"tags": ["license:mit"]}}
        hub.use(monkeypatch, tmp_path / "home")
        yield hub


@pytest.fixture
def project(tmp_path, monkeypatch):
    """A project with an environment `own`."""
    from kedro.framework.startup import bootstrap_project

    root = tmp_path / "project"
    shutil.copytree(REPOSITORY / "conf/base", root / "conf/base")
    shutil.copy(REPOSITORY / "pyproject.toml", root)
    (root / "src").mkdir()
    (root / "conf/own").mkdir()
    (root / "conf/own/globals.yml").write_text("recipe: own\nraw_root: data/01_raw/own\nseed: 1\n")
    (root / "conf/own/parameters.yml").write_text(SOURCES)
    monkeypatch.chdir(root)
    bootstrap_project(root)
    return root


def pin(*arguments, env="own"):
    done = CliRunner().invoke(cli, ["ruri", "pin", "--env", env, *arguments], prog_name="kedro")
    assert "hf_notToBeSeen" not in done.output and not set(done.output) & set("\x1b\x07\r\u202e")
    return done


WANTED = {
    Repository("dataset", "o/pairs"): commit_of("o/pairs"),
    Repository("dataset", "o/pairs", "refs/convert/parquet"): commit_of("o/pairs", "refs/convert/parquet"),
    Repository("dataset", "o/test"): commit_of("o/test"),
    Repository("model", "o/bert", "refs/pr/2"): commit_of("o/bert", "refs/pr/2"),
}


def test_every_commit_is_kept_and_read_by_the_recipe(hub, project):
    from ruri_kedro.cli.project import project_context

    done = pin()
    assert done.exit_code == 0, done.output
    assert read_revisions(project / "conf/own/revisions.yml") == WANTED
    lines = {line.split("  ")[0]: line for line in done.output.splitlines()}
    size = (project.parent / "sets/o/pairs/data/train.jsonl.gz").stat().st_size
    assert lines["o/pairs"].split()[1:] == [
        commit_of("o/pairs")[:12],
        "ok",
        "-",
        f"{size:,}",
        "cc-by-4.0",
        "no",
        "pairs",
    ]
    assert lines["o/bert@refs/pr/2"].split()[3:] == ["-", "1,234", "mit", "no", "base_model"], "no pickle is counted"
    assert lines["o/pinned"].split()[1:3] == ["c" * 12, "ok"]
    params = project_context("own").params
    assert params["sources"]["branch"]["hub"]["revision"] == commit_of("o/pairs", "refs/convert/parquet")
    assert params["sources"]["given"]["hub"]["revision"] == "c" * 40
    assert params["base_model"]["revision"] == commit_of("o/bert", "refs/pr/2")
    assert "unchanged" in pin().output


def test_check_writes_nothing_and_names_the_files_outside_of_the_hub_with_their_command(hub, project):
    done = pin("--check")
    assert done.exit_code == 0 and "o/test" in done.output
    assert not (project / "conf/own/revisions.yml").exists()
    fetch = "python -m ruri_kedro.corpora.fetch mini --only jaquad --out data/01_raw/own"
    assert f"data/01_raw/own/jaquad/train.jsonl.gz is not there (jaquad). Run: {fetch}" in done.output
    assert "mine/texts.txt is not there (own). No command fetches it: put it there by hand." in done.output


def test_a_moved_branch_is_said_with_both_commits(hub, project):
    pin()
    path = project / "conf/own/revisions.yml"
    path.write_text(path.read_text().replace(commit_of("o/test"), "d" * 40))
    assert f"o/test: {'d' * 12} -> {commit_of('o/test')[:12]}" in pin().output
    assert read_revisions(path) == WANTED


def only(project, names) -> None:
    """Let the recipe name these data sets and nothing else."""
    rows = "".join(f"  s{n}: {{kind: pair, hub: {{id: {name}}}, path: '*.gz'}}\n" for n, name in enumerate(names))
    (project / "conf/own/parameters.yml").write_text(f"sources:\n{rows}tasks: {{}}\n")


REFUSALS = {
    401: "there is no such data set, or it is private: look at https://huggingface.co/datasets/o/401",
    403: "it is gated: accept its terms on https://huggingface.co/datasets/o/403 and log in (hf auth login)",
    404: "there is no such data set, or it is private",
    429: "the hub has had too many requests: wait some minutes",
    500: "it cannot be read (HfHubHTTPError",
}


def test_each_refusal_is_one_line_and_the_rest_is_kept(hub, project):
    hub.refused = {f"o/{status}": status for status in REFUSALS}
    hub.folders["datasets", "o/good"] = hub.folders["datasets", "o/test"]
    only(project, [*hub.refused, "o/good"])
    done = pin()
    assert done.exit_code == 1 and "5 of what the recipe names cannot be had" in done.output
    for status, said in REFUSALS.items():
        [line] = [line for line in done.output.splitlines() if line.startswith(f"o/{status}:")]
        assert said in line and line.endswith(f"(HTTP {status})")
    assert read_revisions(project / "conf/own/revisions.yml") == {Repository("dataset", "o/good"): commit_of("o/good")}


def test_what_could_not_be_asked_keeps_its_commit(hub, project):
    pin()
    hub.refused = {"o/test": 429}
    assert pin().exit_code == 1
    assert read_revisions(project / "conf/own/revisions.yml") == WANTED


def test_no_network_is_a_line_for_each_and_writes_nothing(hub, project, monkeypatch):
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")
    done = pin()
    assert done.exit_code == 1 and done.output.count("the hub cannot be reached") == 5
    assert not (project / "conf/own/revisions.yml").exists()


def test_a_gated_data_set_is_pinned_and_said_to_be_closed(hub, project):
    hub.gated = {"o/test"}
    done = pin()
    assert done.exit_code == 1 and read_revisions(project / "conf/own/revisions.yml") == WANTED
    [row] = [line for line in done.output.splitlines() if line.startswith("o/test  ")]
    assert row.split()[2] == "fault" and row.split()[-2:] == ["yes", "test"]
    assert "test: hub data set o/test" in done.output and "it is gated: accept its terms" in done.output
    assert hub.tokens == {"Bearer hf_notToBeSeenAnywhere"}, "the token was sent, and sent back by the server"


def test_fields_that_the_first_row_has_not_are_told_with_those_it_has(hub, project):
    path = project / "conf/own/parameters.yml"
    path.write_text(path.read_text().replace("score: label", "score: grade"))
    hub.folders["datasets", "o/pinned"] = hub.folders["datasets", "o/test"]  # without data/
    said = pin().output
    assert "field 'grade': missing. The row has: anchor, label, positive." in said
    assert "given: hub data set o/pinned@cccccccccccc: no file fits 'data/*.jsonl.gz'" in said


def test_a_model_without_safetensors_is_told_what_to_look_for(hub, project, tmp_path):
    (tmp_path / "models/o/bert/model.safetensors").unlink()
    assert "o/bert@refs/pr/2: no weights as safetensors at this commit" in pin().output


def facts(**other):
    return json.dumps({"id": "o/test", "sha": "e" * 40, "siblings": [], "tags": [], **other}).encode()


ANSWERS = {
    "long": (b'"' + b"x" * 5000, {}),
    "packed": (gzip.compress(facts(), mtime=0), {"Content-Encoding": "gzip"}),
    "page": (b"<html>log in first</html>", {}),
    "list": (b"[]", {}),
    "commit": (facts(sha="../../etc"), {}),
}


def test_an_answer_of_another_form_is_a_line(hub, project, monkeypatch):
    monkeypatch.setattr(hub_facts, "LONGEST_ANSWER", 4000)
    hub.raw = {f"o/{name}": answer for name, answer in ANSWERS.items()}
    hub.folders |= {("datasets", name): hub.folders["datasets", "o/test"] for name in hub.raw}
    only(project, hub.raw)
    done = pin()
    assert done.exit_code == 1 and not (project / "conf/own/revisions.yml").exists()
    assert all(done.output.count(f"{name}: ") == 1 for name in hub.raw)


def test_a_card_is_printed_as_plain_text(hub, project):
    card = {"license": ["mit\x1b[2J\u202e", "x" * 500], "dataset_info": [{"splits": [{"num_examples": "many"}]}, 3]}
    hub.facts["o/test"] = {"cardData": card, "gated": "manual\x07"}
    hub.facts["o/pairs"] = {"cardData": {"dataset_info": {"splits": {"train": 1}}}, "tags": [3]}
    done = pin("--check")
    assert done.exit_code == 0 and "mit[2J, xxx" in done.output and max(map(len, done.output.splitlines())) < 300


def test_rows_are_those_of_the_splits_that_are_read():
    counts = {("default", "train"): 7, ("default", "dev"): 2, ("few", "train"): 1}
    found = hub_facts.RepositoryFacts("a" * 40, "", False, (("data/a.parquet", 5), ("x/y/b.parquet", 9)), counts)
    assert found.rows(None, ["train", "dev"]) == 9 and found.rows("few", ["train"]) == 1
    assert found.rows(None, ["test"]) is None and found.rows("none", ["train"]) is None
    assert found.size(["data/*.parquet"]) == 5 and found.size(["*.parquet"]) == 0 and found.size() == 14


def test_a_recipe_without_the_hub_says_so(project):
    (project / "conf/own/parameters.yml").write_text("sources: {}\ntasks: {}\n")
    assert "The recipe names nothing on the hub." in pin("--check").output


def test_an_environment_that_is_not_there_is_named(project):
    done = pin(env="owm")
    assert done.exit_code == 1 and "--env owm: there is no folder" in done.output


def test_a_lock_file_of_another_form_is_written_anew(hub, project):
    path = project / "conf/own/revisions.yml"
    path.write_text("models: {o/bert: main}")
    assert "is no commit of 40 digits" in pin().output
    assert read_revisions(path) == WANTED


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_the_papers_recipe_is_pinned_and_then_passes_its_check(hub, tmp_path, monkeypatch):
    """All models and data sets of conf/ruri, these in their published forms."""
    from kedro.framework.startup import bootstrap_project
    from stand_in_data import write_papers_corpora

    from ruri_kedro.cli.project import project_context
    from ruri_kedro.corpora.rows import check_sources
    from ruri_kedro.corpora.source import parse_sources

    root = tmp_path / "ruri"
    shutil.copytree(REPOSITORY / "conf", root / "conf", symlinks=True)
    shutil.copy(REPOSITORY / "pyproject.toml", root)
    (root / "src").mkdir()
    monkeypatch.chdir(root)
    bootstrap_project(root)
    write_papers_corpora(root / "data/01_raw/ruri", tmp_path / "papers")
    hub.add(tmp_path / "papers")
    news = ("intfloat/multilingual_cc_news", "shunk031/jsnli")
    hub.refs = {name: ["refs/convert/parquet"] for name in news}
    for name in ("line-corporation/line-distilbert-base-japanese", "tohoku-nlp/bert-base-japanese-v3",
                 "tohoku-nlp/bert-large-japanese-v2", "intfloat/multilingual-e5-large",
                 "cl-nagoya/ruri-reranker-large"):  # fmt: skip
        hub.folders["models", name] = tmp_path / "models/o/bert"
        hub.refs[name] = ["refs/pr/2", "refs/pr/5"]
    done = pin(env="ruri")
    assert done.exit_code == 0, done.output
    assert len(read_revisions(root / "conf/ruri/revisions.yml")) == 7
    params = project_context("ruri").params
    check_sources(parse_sources(params["sources"]), root / "data/01_raw/ruri")
