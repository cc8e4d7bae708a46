"""Every command and snippet of README.md and docs/ works as it is written, in a project on a cut of the corpus.

`doc_snippets.LISTED` has those that are run otherwise, each with its reason; the quick part holds it to the pages.
"""

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest
import yaml
from chat_server import ChatServer, answer
from cut_project import PARAMETERS, own_environment, write_cut
from doc_snippets import (
    FRAGMENTS,
    LISTED,
    PAGES,
    Elsewhere,
    Filled,
    Instead,
    Served,
    Snippet,
    named,
    snippets,
)
from kedro_project import REPOSITORY
from recipes import recipe
from stand_in_data import write_mini
from synthesis_parameters import update
from tiny import tiny_encoder

from ruri_kedro.recipe.overrides import unknown_parameter

ALL = {page: list(snippets(page)) for page in PAGES}
FOLDERS = [REPOSITORY / "conf/base", REPOSITORY / "conf/mini"]


def keys(snippet: Snippet) -> list[str]:
    """What the list calls the commands of a snippet, or the snippet."""
    return snippet.commands or [named(snippet)]


def test_the_pages_have_snippets():
    assert sum(len(found) for found in ALL.values()) > 50
    assert {"kedro run", "make run"} & {command for found in ALL["README.md"] for command in found.commands}


def test_every_snippet_is_run_or_listed_with_its_reason():
    """What cannot be run as it is written: a place to fill in, a program that is not here, a block in no known form."""
    runnable = ("kedro", "python", ".")
    strange = []
    for page, found in ALL.items():
        for snippet in found:
            for key in keys(snippet):
                if (page, key) in LISTED or snippet.file or snippet.language == "yaml":
                    continue
                plain = key.removeprefix(".venv/bin/")
                fits = plain.startswith(runnable) if snippet.commands else snippet.language == "python"
                if not fits or "<" in key or "..." in key.replace("...]", ""):
                    strange.append(f"{page}: {key}")
    assert not strange, "list these in tests/support/doc_snippets.py, or mend them:\n" + "\n".join(strange)


def test_what_is_listed_is_on_its_page_and_has_its_reason():
    there = {(page, key) for page, found in ALL.items() for snippet in found for key in keys(snippet)}
    assert not LISTED.keys() - there, "no longer on these pages"
    fragments = {(page, first) for page, first in FRAGMENTS}
    assert all(any(key.startswith(first) for page_, key in there if page_ == page) for page, first in fragments)
    for how in LISTED.values():
        if isinstance(how, Elsewhere):
            assert (REPOSITORY / how.test).exists() and how.reason
        assert not isinstance(how, Instead) or how.reason


def fragment_of(snippet: Snippet) -> str | None:
    for (page, first), whole in FRAGMENTS.items():
        if snippet.page == page and named(snippet).startswith(first):
            return whole
    return None


YAML = [(page, snippet) for page, found in ALL.items() for snippet in found if snippet.language == "yaml"]


@pytest.mark.parametrize(("page", "snippet"), YAML, ids=[f"{page}: {named(found)}" for page, found in YAML])
def test_parameters_on_a_page_are_accepted(page, snippet):
    """Whole blocks by the checks of the recipes that they would stand in; fragments within such a block."""
    from ruri_kedro.corpora.source import parse_sources
    from ruri_kedro.experiments.cells import parse_cells
    from ruri_kedro.pipelines.ablations.nodes import recipe_nodes
    from ruri_kedro.recipe.blocks import faults_in

    whole = fragment_of(snippet)
    if whole:  # each line is an example of its own
        for line in filter(None, map(str.strip, snippet.text.splitlines())):
            given = yaml.safe_load(line)
            row = {"kind": "pair", "path": "x", "stages": given} if whole == "stages" else {"kind": "pair", **given}
            if "path" in given or "hub" in given:
                row = {"hub": {"id": "a/b"}, **row}
            assert parse_sources({"s": row})
        return
    given = yaml.safe_load(snippet.text)
    changed = {key: value for key, value in (given or {}).items() if key in ("sources", "tasks")}
    if snippet.file and snippet.file.endswith("globals.yml"):
        assert given.keys() <= yaml.safe_load((REPOSITORY / "conf/base/globals.yml").read_text("utf-8")).keys()
        return
    assert list(faults_in(update(recipe(None), given) | changed)) == []
    if tables := given.pop("ablations", {}).get("tables"):
        assert parse_cells({"only": None, "tables": tables}, recipe(None), recipe_nodes())
    assert unknown_parameter(given, FOLDERS) is None


# --- slow: every page in the project ---------------------------------------------------------------------------------

# The bounds of the shipped recipe are not for models of this size, nor its latency for a busy machine.
LOCAL = """
promotion:
  resamples: 200
  minimum: {embedder: {categories: {retrieval: null, sts: null}}, reranker: {categories: {reranking: null}}}
  latency_ms: {embedder: 60000, reranker: 60000}
"""


def merged(first: dict, second: dict) -> dict:
    both = {
        key for key in first.keys() & second.keys() if isinstance(first[key], dict) and isinstance(second[key], dict)
    }
    return first | second | {key: merged(first[key], second[key]) for key in both}


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    """The repository's own configuration on small data, its recipe run three times: two more challengers."""
    root = tmp_path_factory.mktemp("project")
    for name in ("conf", "notebooks"):
        shutil.copytree(REPOSITORY / name, root / name, symlinks=True)
    for name in ("pyproject.toml", "README.md", "dvc.yaml"):
        shutil.copy(REPOSITORY / name, root)
    (root / "src").mkdir()
    (root / ".venv").symlink_to(sys.prefix)
    write_cut(root / "data/01_raw/sample")
    write_mini(root / "data/01_raw/mini")
    small = merged(yaml.safe_load(PARAMETERS), yaml.safe_load(LOCAL))
    (root / "conf/local/parameters.yml").write_text(yaml.safe_dump(small, allow_unicode=True), "utf-8")
    mini = root / "conf/mini/parameters.yml"
    # Of so few stand-in rows a share of a tenth can be none.
    of_mini = merged(small, {"run": {"allow_untrained": True}})
    mini.write_text(yaml.safe_dump(merged(yaml.safe_load(mini.read_text("utf-8")), of_mini)), "utf-8")
    for more in ("", " --params seed=43", " --params seed=44"):  # equal weights are not registered twice
        assert shell(root, f"kedro run{more}")[0] == 0
    aliases(root, champion=1, previous=2)
    return root


def aliases(root: Path, **numbers: int) -> None:
    """Give the aliases to these versions of both models, as promotions would have."""
    code = ["from mlflow import MlflowClient", f"client = MlflowClient('sqlite:///{root}/mlflow.db')"]
    code += [f"client.set_registered_model_alias({name!r}, {alias!r}, '{number}')"
             for name in ("ruri-sample", "ruri-reranker-sample") for alias, number in numbers.items()]  # fmt: skip
    subprocess.run([sys.executable, "-c", "\n".join(code)], check=True, cwd=root)


def environment(root: Path) -> dict[str, str]:
    bin_ = str(Path(sys.executable).parent)
    return own_environment() | {"PATH": f"{bin_}:{os.environ['PATH']}", "BROWSER": "true", "DO_NOT_TRACK": "1"}


def shell(root: Path, command: str) -> tuple[int, str]:
    """Exit status and output of a command, by bash in the project's root."""
    done = subprocess.run(
        ["bash", "-c", command], cwd=root, env=environment(root), text=True, timeout=1500,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )  # fmt: skip
    return done.returncode, done.stdout


def run_as_listed(root: Path, page: str, command: str) -> str | None:
    """What went wrong with a command, run as it is written or listed; None if nothing did."""
    how = LISTED.get((page, command), Filled({}))
    if isinstance(how, Elsewhere):
        return None
    if isinstance(how, Served):
        return serve(root, command, how)
    if isinstance(how, Instead):
        how, command = Filled({}), how.command
    for place, value in how.values.items():
        command = command.replace(place, value)
    status, said = shell(root, f"{how.before or 'true'} && {command}")
    broken = status not in how.status or "Traceback" in said
    return f"{page}: {command}: {status}\n{said[-3000:]}" if broken else None


def free_port() -> int:
    """A port that nobody listens at, below those that Kedro-Viz refuses and those that the system gives to clients."""
    for port in range(20000, 30000):
        with socket.socket() as free, suppress(OSError):
            free.bind(("127.0.0.1", port))
            return port
    raise AssertionError("all ports are taken")


def serve(root: Path, command: str, how: Served) -> str | None:
    port = free_port()
    process = subprocess.Popen(
        ["bash", "-c", f"exec {command} {how.option} {port}"], cwd=root, env=environment(root), text=True,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True,
    )  # fmt: skip
    deadline = time.monotonic() + 300
    try:
        while time.monotonic() < deadline and process.poll() is None:
            try:
                with urllib.request.urlopen(how.address.format(port=port), timeout=5):
                    return None
            except (urllib.error.URLError, OSError):
                time.sleep(0.5)
    finally:
        with suppress(ProcessLookupError):  # it has ended by itself
            os.killpg(process.pid, signal.SIGTERM)
        said, _ = process.communicate(timeout=60)
    return f"{command}: no answer\n{said[-3000:]}"


def run_python(root: Path, snippet: Snippet) -> str | None:
    """What went wrong with a snippet in Python, run in the project's root."""
    how = LISTED.get((snippet.page, named(snippet)), Filled({}))
    if isinstance(how, Elsewhere):
        return None
    text = snippet.text
    for place, value in how.values.items():
        text = text.replace(place, value)
    done = subprocess.run([sys.executable, "-c", text], cwd=root, env=environment(root), text=True, timeout=600,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT)  # fmt: skip
    return f"{snippet.page}: {named(snippet)}\n{done.stdout[-3000:]}" if done.returncode else None


def to_a_stand_in(root: Path) -> Callable[[], None]:
    """A language model for docs/synthesis.md, which asks for few texts."""
    server = ChatServer()
    server.reply = answer
    sets = {name: {"count": 5, "min_chars": 10} for name in ("autowikiqa", "autowikinli")}
    own = {"synthesis": {"model": {"base_url": server.url}, "sets": sets}}
    (root / "conf/local/parameters_synthesis.yml").write_text(yaml.safe_dump(own), "utf-8")
    return server.close


def with_a_base_model(root: Path) -> Callable[[], None]:
    """A model in a folder, in place of the hub's."""
    tiny_encoder().save_pretrained(str(root / "tiny"))
    return lambda: None


BEFORE = {"docs/synthesis.md": to_a_stand_in, "docs/tutorial.md": with_a_base_model}
LEFT = ("served", "exported", "release", "results", "kept", "scores.json", "build")


@pytest.mark.slow
@pytest.mark.timeout(5400)
@pytest.mark.parametrize("page", PAGES)
def test_a_page_does_what_it_says(project, page):
    """Its commands and snippets in their order."""
    for name in LEFT:
        shutil.rmtree(project / name, ignore_errors=True)
    close = BEFORE.get(page, lambda root: lambda: None)(project)
    problems = []
    try:
        for snippet in ALL[page]:
            if snippet.file:
                path = project / snippet.file
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(snippet.text, "utf-8")
            problems += [run_as_listed(project, page, command) for command in snippet.commands]
            if snippet.language == "python":
                problems.append(run_python(project, snippet))
    finally:
        close()
    problems = list(filter(None, problems))
    assert not problems, "\n\n".join(problems)
