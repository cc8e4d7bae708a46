"""`ruri-kedro new`: a project for the installed package, with the files that a clone of its repository has."""

import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import click
import yaml

from ruri_kedro.cli.project import shipped
from ruri_kedro.tables.files import new_folder, replace_dir

LAYERS = (
    "01_raw", "02_intermediate", "03_primary", "04_feature", "05_model_input", "06_models", "07_model_output",
    "08_reporting",
)  # fmt: skip
_TEMPLATES = Path(__file__).with_name("new_project")
_REQUIREMENTS = "requirements.txt"
_DVC_HEAD = f"""# One stage per pipeline, for the recipe in conf/base. Each depends on {_REQUIREMENTS}, which names the
# version of ruri-kedro: all stages run again when it changes.
"""


@dataclass(frozen=True)
class _Start:
    """What a new project begins with: folders of conf/ (None: all), and the commands that come next."""

    folders: tuple[str, ...] | None
    data: str
    run: str


STARTS = {
    "sample": _Start(None, "python -m ruri_kedro.corpora.sample", "kedro run"),
    "e5": _Start(("base", "e5"), "python -m ruri_kedro.corpora.fetch mini", "kedro run --env e5"),
    "ruri": _Start(("base", "ruri"), "python -m ruri_kedro.corpora.fetch ruri", "kedro run --env ruri"),
}


@click.command()
@click.argument("folder", type=click.Path(file_okay=False, path_type=Path))
@click.option(
    "--from", "start", default="sample", show_default=True, type=click.Choice(list(STARTS)),
    help="The recipe to begin with. sample: the made-up corpus, and all recipes; else conf/base and the recipe alone.",
)  # fmt: skip
def new(folder: Path, start: str) -> None:
    """Write a project into FOLDER: conf/, the folders of data/, dvc.yaml, pyproject.toml, README.md."""
    with replace_dir(new_folder(folder)) as aside:
        write_project(aside, folder.resolve().name, start)
    click.echo(f"{folder} is a project now. Next:")
    for command in (f"cd {folder}", STARTS[start].data, STARTS[start].run):
        click.echo(f"  {command}")


def write_project(folder: Path, name: str, start: str = "sample") -> None:
    """The files of a project called `name`, into an empty folder; `start` is a name of `STARTS`."""
    import kedro

    own, files, begin = version("ruri-kedro"), shipped(), STARTS[start]
    # What the recipes need; conf/local is the user's.
    left_out = {path.name for path in (files / "conf").iterdir() if path.is_dir()} - {*(begin.folders or ())}
    left_out = left_out if begin.folders else {"local"}
    shutil.copytree(files / "conf", folder / "conf", ignore=shutil.ignore_patterns(*left_out, "dvc.*"))
    shutil.copy(files / ".gitignore", folder / ".gitignore")
    if start == "sample":  # of another recipe: kedro ruri dvc --env <recipe>
        stages = without_code(yaml.safe_load((files / "dvc.yaml").read_text("utf-8")))
        text = yaml.safe_dump(stages, sort_keys=False, allow_unicode=True, width=120)
        (folder / "dvc.yaml").write_text(_DVC_HEAD + text, encoding="utf-8")
    for place in ("conf/local", "src", *(f"data/{layer}" for layer in LAYERS)):
        (folder / place).mkdir(parents=True)
        (folder / place / ".gitkeep").touch()
    # What names the project, the versions and the recipe.
    (folder / _REQUIREMENTS).write_text(f"ruri-kedro=={own}\n", encoding="utf-8")
    words = {"name": name, "version": own, "kedro": kedro.__version__, "data": begin.data, "run": begin.run}
    words["stages"] = "" if start == "sample" else f"`kedro ruri dvc --env {start}` writes the stages. "
    words["repro"] = "dvc repro" if start == "sample" else f"dvc repro conf/{start}/dvc.yaml"
    for template in sorted(_TEMPLATES.iterdir()):
        text = template.read_text("utf-8").format(**words)
        (folder / template.name).write_text(text, encoding="utf-8")


def without_code(file: Mapping[str, Any]) -> dict[str, Any]:
    """The stages of a dvc.yaml, which depend on the version of the package in place of the code of a clone."""
    stages = {}
    for name, stage in file["stages"].items():
        params = [row for row in stage["params"] if "${code}" not in row]
        rest = {key: value for key, value in stage.items() if key not in ("cmd", "deps", "params")}
        stages[name] = {"cmd": stage["cmd"], "deps": [*stage.get("deps", []), _REQUIREMENTS]}
        stages[name] |= ({"params": params} if params else {}) | rest
    rest = {key: value for key, value in file.items() if key not in ("vars", "stages")}
    return {"vars": [row for row in file["vars"] if "code" not in row], "stages": stages, **rest}
