"""The documentation: it builds strictly, and what the build makes says what the project is."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from kedro_project import REPOSITORY

CONF = REPOSITORY / "conf/base"


@pytest.fixture(scope="module")
def site(tmp_path_factory) -> Path:
    """The pages that `make docs` builds, in a copy: a dead link, an unlisted page or a lost anchor ends the build.

    It counts what it warns of, so it must not be told to be quiet.
    """
    root = tmp_path_factory.mktemp("project")
    for name in ("docs", "conf", "src", "benchmarks"):
        (root / name).symlink_to(REPOSITORY / name)
    for name in ("Makefile", "mkdocs.yml", "pyproject.toml", "CHANGELOG.md"):
        shutil.copy(REPOSITORY / name, root)
    # The environment of the tests stands for .venv, which `install-dev` would make.
    command = ["make", "-o", "install-dev", "docs", f"BIN={Path(sys.executable).parent}"]
    done = subprocess.run(command, cwd=root, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    return root / "site"


@pytest.fixture(scope="module")
def rows(site) -> dict[str, list[str]]:
    """The tables of the page of parameters: the cells of a row by the parameter's name."""
    page = (site / "parameters/index.html").read_text("utf-8")
    cells = [re.findall(r"<td>(.*?)</td>", row, re.DOTALL) for row in re.findall(r"<tr>(.*?)</tr>", page, re.DOTALL)]
    return {re.sub(r"<.*?>", "", row[0]): row for row in cells if row}


def leaves(block: dict, prefix: str = "") -> dict[str, object]:
    """Every value of a parameter file by its dotted path."""
    found = {}
    for key, value in block.items():
        found |= leaves(value, f"{prefix}{key}.") if isinstance(value, dict) and value else {f"{prefix}{key}": value}
    return found


PARAMETERS = {
    path: file.name
    for file in sorted(CONF.glob("parameters*.yml"))
    for path in leaves(yaml.safe_load(file.read_text("utf-8")))
}


def ancestors(path: str) -> list[str]:
    """`a.b.c`, `a.b`, `a`."""
    parts = path.split(".")
    return [".".join(parts[:count]) for count in range(len(parts), 0, -1)]


def test_every_parameter_is_on_the_page_of_parameters(rows):
    """By its own row with a value, or by that of a `{...}` it stands in."""
    assert PARAMETERS
    assert not [path for path in PARAMETERS if not any(rows.get(row, ["", ""])[1] for row in ancestors(path))]


def test_every_parameter_is_explained(rows):
    """By a comment on its line in conf/base, or on the block it stands in."""
    blocks = {"_corpora", "_benchmarks", "sources", "tasks"}  # what they may hold is in docs/recipes.md
    silent = [
        f"{PARAMETERS[path]}: {path}"
        for path in PARAMETERS
        if path.split(".")[0] not in blocks and not any(rows.get(row, [""])[-1] for row in ancestors(path))
    ]
    assert not silent, "without a comment in conf/base: " + ", ".join(silent)


def test_the_page_shows_values_comments_and_what_recipes_change(rows):
    _, default, *recipes, note = rows["pretraining.batch_size"]
    assert "256" in default and "8192" in "".join(recipes) and "rows of a step" in note
    assert "&lt;task&gt;-query" in rows["mteb.prompts"][-1]


def test_the_diagram_has_the_imports_of_the_code(site):
    picture = (site / "images/imports.svg").read_text("utf-8")
    rooms = [path.name for path in (REPOSITORY / "src/ruri_kedro").iterdir() if (path / "__init__.py").exists()]
    assert {f">{room}</text>" in picture for room in [*rooms, "hooks", "cli"]} == {True}
    assert picture.count("marker-end") >= len(rooms)
