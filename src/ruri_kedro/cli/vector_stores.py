"""kedro ruri index export and load: vectors for the engines that people search with."""

from collections.abc import Callable
from functools import reduce
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ruri_kedro.cli.mlflow_store import connect
from ruri_kedro.cli.named_models import prompts_of_recipe, saved_model
from ruri_kedro.cli.project import named_collection, project_context
from ruri_kedro.errors import RecipeError
from ruri_kedro.recipe.blocks import check_blocks

if TYPE_CHECKING:
    from ruri_kedro.search.vector_stores.sources import Source

TARGETS = ("qdrant", "opensearch", "elasticsearch", "pgvector", "lancedb", "vespa", "parquet")
_ANALYSERS = ("kuromoji", "sudachi")
_QUERIES = 100  # that --check asks

_into = click.option("--into", metavar="ADDRESS", help="Load it into the engine that runs here; can be repeated.")
_check = click.option("--check", is_flag=True, help="Search there and compare with exact search here (recall@10).")


def _made_of(command: Callable) -> Callable:
    """The options that say which vectors are exported."""
    options = (
        click.argument("folder", type=click.Path(exists=True, file_okay=False, path_type=Path), required=False),
        click.option("--model", "reference", help="A folder, models:/<name>@<alias>, or <owner>/<model>@<commit>."),
        click.option("--collection", help="A searched task, a source, or files: what is encoded."),
        click.option("--prompts", help="Name in mteb.prompts. Default: the prompts the model was saved with."),
        click.option("--env", "-e", default=None, help="Environment (recipe) of the collection and the registry."),
    )
    return reduce(lambda made, option: option(made), reversed(options), command)


@click.command("export")
@_made_of
@click.option("--to", required=True, type=click.Choice(TARGETS), help="The engine that shall read it.")
@click.option("--out", required=True, type=click.Path(file_okay=False, path_type=Path), help="New folder.")
@click.option("--name", default="passages", show_default=True, help="Of the collection, index or table there.")
@click.option(
    "--analyser", default=_ANALYSERS[0], show_default=True, type=click.Choice(_ANALYSERS),
    help="Of Japanese texts, for OpenSearch and Elasticsearch.",
)  # fmt: skip
@_into
@_check
def export_vectors(
    folder: Path | None, reference: str | None, collection: str | None, prompts: str | None, env: str | None,
    to: str, out: Path, name: str, analyser: Any, into: str | None, check: bool,
) -> None:  # fmt: skip
    """Write vectors, texts and ids in the form of another engine.

    Of FOLDER, an index of token vectors or what --to parquet wrote; or of --model and --collection: a vector for each
    text, or of a late interaction model one for each token.
    """
    if (folder is None) == (reference is None) or (reference is None) != (collection is None):
        raise click.UsageError("Name a FOLDER, or a model and what it encodes: --model MODEL --collection COLLECTION.")
    from ruri_kedro.search.vector_stores.export import export
    from ruri_kedro.search.vector_stores.sources import stored
    from ruri_kedro.search.vector_stores.stores import read_by

    source = _encoded(reference, collection, prompts, env) if folder is None else stored(folder)
    click.echo(f"{export(source, to, out, name, analyser)} documents in {out}. {read_by(to)}")
    _load_and_check(out, into, check)


@click.command("load")
@click.argument("folder", type=click.Path(exists=True, file_okay=False, path_type=Path))
@_into
@_check
def load_vectors(folder: Path, into: str | None, check: bool) -> None:
    """Send what was exported to FOLDER to its engine; documents that are there are replaced."""
    _load_and_check(folder, into, check)


def _load_and_check(folder: Path, address: str | None, is_checked: bool) -> None:
    from ruri_kedro.search.vector_stores import export

    if address is not None:
        export.load(folder, address)
        click.echo("loaded")
    if is_checked:
        recall = export.check(folder, address)
        click.echo(str(recall))
        if not recall.is_enough:
            raise click.ClickException(f"at least {export.LEAST_EXACT} and {export.LEAST} are expected.")


def _encoded(reference: str, name: str, prompts: str | None, env: str | None) -> "Source":
    """The documents of a collection by a model, whose kind decides what they become."""
    context = project_context(env, anywhere=True)
    params = context.params
    check_blocks(params, "prompts", "task_prompts", "mteb")
    collection, model, settings = named_collection(context, params, name), _model(context, reference), params["mteb"]
    if model.is_cross_encoder:
        raise RecipeError(f"'{reference}' gives scores to pairs and no vectors. Name an embedding model.")
    from ruri_kedro.search.vector_stores.encoding import MultiVectors, SingleVectors
    from ruri_kedro.search.vector_stores.sources import encoded_texts

    if model.is_multi_vector:
        encoder: Any = MultiVectors(model, settings["chunk_tokens"])
    else:
        chosen = _prompts(params, model, prompts)
        encoder = SingleVectors(model, chosen, settings["max_length"], settings["chunk_tokens"])
    facts = {"model": {"name": model.name, "revision": model.revision}, "collection": name}
    documents = [*collection.rows()]
    return encoded_texts(encoder, documents, _asked(collection.queries(), documents), facts)


def _asked(queries: list[str], documents: list[tuple[str, str]]) -> list[str]:
    """The first of the queries that are known, or where there are none texts at equal distances."""
    step = max(1, len(documents) // _QUERIES)
    return (queries or [text for _, text in documents[::step]])[:_QUERIES]


def _model(context: Any, reference: str) -> Any:
    if reference.startswith("models:/"):
        connect(context)
    return saved_model(reference, context.params["mteb"]["device"])


def _prompts(params: dict[str, Any], model: Any, name: str | None) -> dict[str, str]:
    from ruri_kedro.benchmark.mteb.prompts import named_prompts, saved_prompts

    if name is not None:
        return dict(named_prompts(params["mteb"], name))
    return saved_prompts(model.name, model.prompts, params["mteb"], prompts_of_recipe(params))
