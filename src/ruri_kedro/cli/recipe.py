"""`kedro ruri recipe`: a recipe that trains an existing model on a file of the user's own."""

from collections.abc import Sequence
from pathlib import Path

import click
import yaml
from kedro.framework.project import settings

from ruri_kedro.cli.project import project_folder
from ruri_kedro.cli.recipe_files import FOLDER, of_documents, of_questions, write_recipe
from ruri_kedro.corpora.columns import DOCUMENTS, QUESTIONS, find_columns, read_documents, read_questions
from ruri_kedro.corpora.splitting import (
    PASSAGES_FILE,
    TEST_FILE,
    TRAIN_FILE,
    VALIDATION_FILE,
    Split,
    split,
    write_documents,
    write_questions,
)
from ruri_kedro.errors import DataError, RecipeError
from ruri_kedro.hooks.checks import check_recipe_names
from ruri_kedro.recipe.overrides import fault_in


@click.command()
@click.argument("name")
@click.option("--from", "origin", default="e5", show_default=True, help="Recipe whose parameters.yml is copied.")
@click.option("--questions", type=click.Path(path_type=Path), help="File with a question and its passage in each row.")
@click.option("--documents", type=click.Path(path_type=Path), help="File with a title and a text in each row.")
@click.option(
    "--field",
    "named",
    multiple=True,
    metavar="NAME=COLUMN",
    help="Column of the question, passage, title or text. Default: one of a usual name.",
)
@click.option(
    "--synthesis", metavar="MODEL", help="Language model that writes questions about the documents: docs/synthesis.md."
)
def recipe(
    name: str, origin: str, questions: Path | None, documents: Path | None, named: Sequence[str], synthesis: str | None
) -> None:
    """Write conf/NAME, a recipe for a file of your own, and part the file into training, validation and a test."""
    if (questions is None) == (documents is None):
        raise RecipeError("give either --questions FILE or --documents FILE.")
    if synthesis and questions:
        raise RecipeError("--synthesis writes questions about --documents. Leave it out where there are --questions.")
    check_recipe_names({"recipe": name})
    project = project_folder()
    conf, folder = project / settings.CONF_SOURCE, project / "data/01_raw" / name / FOLDER
    _check_free(conf / name, folder)
    _check_origin(conf, origin)

    # The file is read whole before anything is written, and the recipe is written last.
    path = questions or documents
    columns = find_columns(path, QUESTIONS if questions else DOCUMENTS, _pairs(named))
    if questions:
        parts = split(path, read_questions(path, columns))
        write_questions(folder, parts)
        files = of_questions()
    else:
        parts = split(path, read_documents(path, columns))
        write_documents(folder, parts)
        files = of_documents(parts, synthesis)
    write_recipe(conf, name, origin, files)
    said = ", ".join(f"{key}: {column}" for key, column in columns.items())
    click.echo(f"{_shown(conf / name)} is a recipe now, with the parameters of conf/{origin}.")
    click.echo(f"{path} ({said}) is parted by {parts.by} into {_shown(folder)}:")
    click.echo(_counts(parts, "questions" if questions else "documents"))
    click.echo("\n".join(["Next:", *(f"  {command}" for command in _next(name, synthesis))]))


def _check_free(*folders: Path) -> None:
    """Raise DataError for a folder that is there already."""
    for folder in folders:
        if folder.exists():
            raise DataError(f"{_shown(folder)} is there already. Remove it, or give the recipe another name.")


def _check_origin(conf: Path, origin: str) -> None:
    """Raise RecipeError for a recipe that is not there, adapts no model, or registers models without its own name."""
    if fault := fault_in(conf, origin, {}):
        raise RecipeError(fault.replace("--env", "--from", 1))
    files = [conf / origin / name for name in ("globals.yml", "parameters.yml")]
    written = (yaml.safe_load(files[1].read_text("utf-8")) or {}) if all(file.is_file() for file in files) else {}
    is_named = "${globals:recipe}" in written.get("recipe", "${globals:recipe}")
    if not (is_named and written.get("base_model", {}).get("name")):
        raise RecipeError(
            f"--from {origin}: parameters.yml there cannot be copied, since it names no base model, or its `recipe` is "
            "not made of ${globals:recipe}. Name e5."
        )


def _pairs(named: Sequence[str]) -> dict[str, str]:
    """The columns by what they hold. Raises RecipeError for what is not NAME=COLUMN."""
    pairs = [text.partition("=") for text in named]
    for text, (name, _, column) in zip(named, pairs, strict=True):
        if not (name and column):
            raise RecipeError(f"--field {text}: NAME=COLUMN is expected, such as --field passage=answer.")
    return {name: column for name, _, column in pairs}


def _shown(path: Path) -> Path:
    """The path from the working folder, where it is below that."""
    return path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path


def _counts(parts: Split, what: str) -> str:
    """A line for each file that was written."""
    passages = len({row.positive for row in parts.all})
    lines = {
        TRAIN_FILE: f"{len(parts.train):,} {what}",
        VALIDATION_FILE: f"{len(parts.validation):,} {what}",
        TEST_FILE: f"{len(parts.test):,} {what}, which are never trained on",
        PASSAGES_FILE: f"{passages:,} passages, which the test searches",
    }
    return "\n".join(f"  {name:<20} {text}" for name, text in lines.items())


def _next(name: str, synthesis: str | None) -> list[str]:
    """The commands that come next."""
    pipelines = [*(["synthesis"] if synthesis else []), "data_engineering"]
    return [*(f"kedro run --env {name} --pipelines {pipeline}" for pipeline in pipelines), f"kedro run --env {name}"]
