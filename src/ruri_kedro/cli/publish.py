"""Commands around a registered model: where it comes from, and how it goes to others."""

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from ruri_kedro.cli.project import project_context, registry_context, stored_test_sets
from ruri_kedro.errors import DataError, RecipeError
from ruri_kedro.recipe.stages import STAGES, example_tables

_env = click.option("--env", "-e", default=None, help="Environment (recipe) whose tables and tracking server are used.")
sized = click.option("--size", help="Of a recipe with models of several sizes. Default: the recipe's usual one.")
_out = click.option(
    "--out", required=True, type=click.Path(file_okay=False, path_type=Path), help="Folder that is written."
)


@click.command()
@click.argument("model", required=False)
@click.option("--row", help="A docid, pair_id, query_id, example_id or source: which stages and versions used it.")
@_env
@sized
def lineage(model: str | None, row: str | None, env: str | None, size: str | None) -> None:
    """Show where MODEL comes from, or with --row what came of a row of the corpus.

    MODEL is <name>@<alias>, <name>/<version>, or <name> for its champion or else its challenger.
    """
    if (model is None) == (row is None):
        raise click.UsageError("Name a model, such as ruri-sample@champion, or a row by --row.")
    context = registry_context(env, size)
    click.echo(_lineage_of(model) if model else _trace_of(context.catalog, row), nl=False)


@click.command()
@click.argument("model")
@_out
@_env
def fetch(model: str, out: Path, env: str | None) -> None:
    """Download MODEL, check every file against its manifest, and say how it is served."""
    registry_context(env)
    from ruri_kedro.registry.versions.registered import fetch as fetch_version
    from ruri_kedro.registry.versions.registered import resolve
    from ruri_kedro.tables.files import new_folder, replace_dir

    new_folder(out)
    name, number = resolve(model)
    with replace_dir(out) as folder:
        fetch_version(name, str(number), folder)
    click.echo(f"{name} version {number}, every file as it was registered.")
    click.echo(f"Next: mlflow models serve --model-uri {out} --env-manager local --port 5001")


@click.command()
@click.argument("model")
@click.option("--onnx", is_flag=True, help="As ONNX.")
@click.option("--int8", is_flag=True, help="Also with weights of 8 bits.")
@_out
@_env
@sized
def export(model: str, onnx: bool, int8: bool, out: Path, env: str | None, size: str | None) -> None:
    """Write MODEL in another format, and measure and log what that costs on the recipe's retrieval tasks."""
    if not onnx:
        raise click.UsageError("Name a format: --onnx, or --onnx --int8.")
    context = registry_context(env, size)
    from ruri_kedro.registry.publishing.exporting import export_version
    from ruri_kedro.registry.versions.registered import resolve

    sets, catalog = stored_test_sets(context), context.catalog
    runs = catalog.load("runs") if catalog.exists("runs") else None
    for row in export_version(*resolve(model), out, int8, context.params, sets, runs):
        click.echo(str(row))
    click.echo(f"Next: load it by ruri_kedro.models.onnx.load_onnx(Path('{out}'), ...)")


@click.group()
def publish() -> None:
    """Write a folder for the Hugging Face hub, and upload it if asked to."""


_repo = click.option("--repo", help="Its name on the hub, <owner>/<name>.")
_upload = click.option("--upload", is_flag=True, help="Upload it to --repo; needs a login (hf auth login).")
_public = click.option("--public", is_flag=True, help="A repository that is made by the upload is public.")


@publish.command("model")
@click.argument("model")
@_out
@_repo
@_upload
@_public
@_env
def publish_model(model: str, out: Path, repo: str | None, upload: bool, public: bool, env: str | None) -> None:
    """A registered MODEL: weights, card with results, evidence, manifest."""
    _check_upload(repo, upload)
    params = registry_context(env).params
    from ruri_kedro.registry.publishing import publication
    from ruri_kedro.registry.publishing.terms import parse_terms
    from ruri_kedro.registry.versions.registered import fetch as fetch_version
    from ruri_kedro.registry.versions.registered import original_of, resolve

    terms = parse_terms(_block(params, "publication"))
    name, number = resolve(model)
    with tempfile.TemporaryDirectory() as folder:
        root = fetch_version(name, str(number), Path(folder))
        licences = _block(params, "promotion")["licences"]
        publication.publish_model(root, original_of(name, number)[0], out, terms, licences, repo)
    _finish(out, repo, "model", upload, public)


@publish.command("dataset")
@click.option("--stage", "stages", multiple=True, type=click.Choice(list(STAGES)), help="Default: all that are there.")
@_out
@_repo
@_upload
@_public
@_env
@sized
def publish_dataset(
    stages: Sequence[str], out: Path, repo: str | None, upload: bool, public: bool, env: str | None, size: str | None
) -> None:
    """The recipe's examples with their texts: Parquet by stage, card with sources, licences and row counts."""
    _check_upload(repo, upload)
    context = project_context(env, size=size)
    from ruri_kedro.corpora.source import parse_sources
    from ruri_kedro.registry.publishing.published_data import publish_dataset as write_dataset
    from ruri_kedro.registry.publishing.terms import parse_terms
    from ruri_kedro.registry.runs.provenance import dvc_tags, git_tags

    # The stages whose examples are there.
    params, catalog = context.params, context.catalog
    named = example_tables()
    tables = _tables(catalog, {stage: named[stage] for stage in stages} or named, required=bool(stages))
    if not tables:
        raise DataError("There are no examples yet. Run: kedro run --pipelines data_engineering,negative_mining")
    raw = Path(catalog.get("raw")._filepath)
    # Their rows with texts, and the card.
    rows = write_dataset(
        name=(repo or f"ruri-{params['recipe']}-dataset").rpartition("/")[2],
        stages=tables,
        passages=_passages(catalog),
        sources=parse_sources(params["sources"]),
        raw=raw,
        out=out,
        terms=parse_terms(_block(params, "publication")),
        synthesis=params.get("synthesis", {}),
        made={**git_tags(context.project_path), **dvc_tags(context.project_path, [raw])},
    )
    for stage, splits in rows.items():
        click.echo(f"{stage}: " + ", ".join(f"{sum(found.values()):,} {split}" for split, found in splits.items()))
    _finish(out, repo, "dataset", upload, public)


def _lineage_of(model: str) -> str:
    from ruri_kedro.registry.lineage.lineage import lineage as lineage_of
    from ruri_kedro.registry.lineage.lineage import lineage_text
    from ruri_kedro.registry.versions.registered import resolve

    return lineage_text(lineage_of(*resolve(model)))


def _trace_of(catalog: Any, row: str) -> str:
    from ruri_kedro.registry.lineage.trace import trace, trace_text, users
    from ruri_kedro.registry.versions.models import registered_names

    stages = _tables(catalog, example_tables())
    pairs = _tables(catalog, {"pairs": "pairs", "mined pairs": "mining_supervised.mined_pairs"})
    found = trace(row, _passages(catalog), pairs | stages)
    return trace_text(found, users(found, stages, registered_names()))


def _tables(catalog: Any, names: Any, required: bool = False) -> dict[str, Any]:
    """The tables that are there, by the names that `names` gives them."""
    missing = [name for name in names.values() if not catalog.exists(name)]
    if missing and required:
        raise DataError(f"There is no {', '.join(missing)} yet. Run: kedro run")
    return {key: catalog.load(name) for key, name in names.items() if name not in missing}


def _passages(catalog: Any) -> Any:
    if not catalog.exists("passages"):
        raise DataError("There are no passages yet. Run: kedro run --pipelines data_engineering")
    return catalog.load("passages")


def _block(params: dict[str, Any], name: str) -> dict[str, Any]:
    if name not in params:
        raise RecipeError(f"{name}: missing. conf/base/parameters_{name}.yml of the project has an example.")
    return params[name]


def _check_upload(repo: str | None, upload: bool) -> None:
    from ruri_kedro.registry.publishing.publication import check_repository

    if upload and not repo:
        raise click.UsageError("--upload needs --repo <owner>/<name>.")
    if repo:
        check_repository(repo)


def _finish(out: Path, repo: str | None, kind: str, upload: bool, public: bool) -> None:
    click.echo(f"{out} is complete.")
    if upload:
        from ruri_kedro.registry.publishing.publication import upload as send

        click.echo(send(out, repo, kind, public))
    else:
        click.echo("Nothing was uploaded. Read the card, then: add --repo <owner>/<name> --upload")
