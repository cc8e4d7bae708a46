"""kedro ruri index: indexes of token vectors, and vectors for other search engines."""

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ruri_kedro.cli.mlflow_store import connect
from ruri_kedro.cli.named_models import saved_model
from ruri_kedro.cli.project import named_collection, project_context
from ruri_kedro.cli.vector_stores import export_vectors, load_vectors
from ruri_kedro.errors import DataError, RecipeError
from ruri_kedro.recipe.blocks import check_blocks

if TYPE_CHECKING:
    from ruri_kedro.search.multi_vector.retriever import MultiVectorRetriever

_BLOCK = 256  # documents encoded together

_env = click.option("--env", "-e", default=None, help="Environment whose `multi_vector` and `encoding` count.")
_model = click.option(
    "--model",
    "reference",
    required=True,
    help="A late interaction model: a folder, models:/<name>@<alias> or models:/<name>/<version> of the registry, or "
    "<owner>/<model>@<commit>.",
)
_folder = click.argument("folder", type=click.Path(exists=True, file_okay=False, path_type=Path))


@click.group()
def index() -> None:
    """Work with indexes of token vectors; take vectors to other search engines."""


for _command in (export_vectors, load_vectors):
    index.add_command(_command)


@index.command("build")
@click.argument("collection")
@_model
@click.option("--out", required=True, type=click.Path(file_okay=False, path_type=Path), help="Folder of the index.")
@_env
def build_index(collection: str, reference: str, out: Path, env: str | None) -> None:
    """Index the texts of COLLECTION: a searched task of the recipe, a source, or files (a folder, a pattern).

    A call that was killed goes on where it stopped when it is given again; an index that is there already stays.
    """
    context = project_context(env, anywhere=True)
    found = named_collection(context, context.params, collection)
    _retriever(context, reference, out).build(found.rows(), found.digest)
    click.echo(f"{_described(out)}. Search it: kedro ruri index search {out} QUERY --model {reference}")


@index.command("add")
@_folder
@click.argument("collection")
@_model
@_env
def add(folder: Path, collection: str, reference: str, env: str | None) -> None:
    """Add the texts of COLLECTION, as of `build`, to the index in FOLDER, by the centroids that it has."""
    context = project_context(env, anywhere=True)
    found = named_collection(context, context.params, collection)
    _retriever(context, reference, folder).add(found.rows(), found.digest)
    click.echo(_described(folder))


@index.command("delete")
@_folder
@click.argument("docids", nargs=-1)
@click.option("--file", "file", type=click.Path(exists=True, dir_okay=False, path_type=Path), help="A docid a line.")
def delete(folder: Path, docids: Sequence[str], file: Path | None) -> None:
    """Take documents out of the index in FOLDER; none of them if one is not there."""
    from ruri_kedro.search.multi_vector.update import delete_documents

    listed = [line for line in file.read_text("utf-8").splitlines() if line] if file else []
    if not (gone := [*docids, *listed]):
        raise DataError("no docid is given. Name them, or a file that has one a line (--file).")
    delete_documents(folder, gone, None)
    click.echo(_described(folder))


@index.command("search")
@_folder
@click.argument("queries", nargs=-1, required=True)
@_model
@click.option("-k", default=10, show_default=True, type=click.IntRange(1), help="Hits of a query.")
@_env
def search(folder: Path, queries: Sequence[str], reference: str, k: int, env: str | None) -> None:
    """The hits of QUERIES in the index in FOLDER: rank, docid and MaxSim."""
    found = _retriever(project_context(env, anywhere=True), reference, folder).search(list(queries), k)
    for query, hits in zip(queries, found, strict=True):
        click.echo(query)
        for rank, (docid, score) in enumerate(hits, start=1):
            click.echo(f"{rank:4} {docid} {score:.4f}")


def _retriever(context: Any, reference: str, folder: Path) -> "MultiVectorRetriever":
    """The index of a model in a folder, as the parameters say."""
    params = context.params
    check_blocks(params, "multi_vector", "encoding")
    if reference.startswith("models:/"):
        connect(context)
    encoding = params["encoding"]
    model = saved_model(reference, encoding["device"])
    if not model.is_multi_vector:
        raise RecipeError(
            f"'{model.name}' has no vector for each token. Train one, or make one of any encoder: base_model.kind: "
            "multi_vector."
        )

    from ruri_kedro.engines.engine import engine_of
    from ruri_kedro.recipe.parse import parse
    from ruri_kedro.search.multi_vector.retriever import MultiVectorRetriever
    from ruri_kedro.search.multi_vector.settings import MultiVectorSettings

    read = {name: encoding[name] for name in ("chunk_tokens", "precision")}
    query, document = (partial(model.token_vectors, task=task, **read) for task in ("query", "document"))
    settings = parse(MultiVectorSettings, params["multi_vector"], "multi_vector")
    engine = engine_of(params["engine"])
    return MultiVectorRetriever(folder, settings, model.revision, query, document, _BLOCK, engine)


def _described(folder: Path) -> str:
    """The size of an index."""
    from ruri_kedro.search.multi_vector.index import open_index

    facts = open_index(folder, None).manifest
    return f"{folder}: {facts['documents']} documents, {facts['tokens']} tokens, {facts['bits']} bits a component"
