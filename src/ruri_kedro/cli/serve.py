"""`kedro ruri serve`: search by registered models, in a browser and over HTTP."""

from typing import Any

import click

from ruri_kedro.cli.mlflow_store import connect
from ruri_kedro.cli.project import named_collection, project_context
from ruri_kedro.cli.publish import sized
from ruri_kedro.errors import RecipeError
from ruri_kedro.recipe.blocks import check_blocks
from ruri_kedro.startup import without_collector

_READ = ("service", "bm25", "multi_vector", "promotion", "tasks", "sources")
_MODEL = "models:/<name>@<alias>, models:/<name>/<version>, a folder, or <owner>/<model>@<commit>."


@click.command()
@click.option("--env", "-e", default=None, help="Environment (recipe) whose models and collections are served.")
@click.option("--host", help="Address. Any other than loopback needs a token (RURI_SERVICE_TOKEN).")
@click.option("--port", type=click.IntRange(0, 65535), help="0: any that is free.")
@click.option("--model", help=f"{_MODEL} Default: the champion, else the challenger.")
@click.option("--with", "compared", help="A second model, shown beside the first.")
@click.option(
    "--reranker", help="Default: the champion of the recipe's reranker, else its challenger, if there is one."
)
@click.option("--collection", help="A task, a source, or files. Default: the recipe's first task of retrieval.")
@sized
def serve(env: str | None, size: str | None, **options: Any) -> None:
    """Search in a browser, and over HTTP, with the recipe's models; ends with Ctrl-C."""
    given = {name: value for name, value in options.items() if value is not None}
    # A model in a folder, over a file, can be served anywhere.
    context = project_context(env, anywhere="model" in given and "collection" in given, size=size)
    recipe = context.params
    if "service" not in recipe:
        raise RecipeError(
            "the parameters have no block `service`. Copy conf/base/parameters_service.yml of the package."
        )
    params = {**recipe, "service": {**recipe["service"], **given}}
    check_blocks({name: params[name] for name in _READ if name in params}, *_READ)
    service = params["service"]

    from ruri_kedro.service.limits import check_exposure, token_of

    token = token_of()
    check_exposure(service["host"], token)
    from ruri_kedro.service.serve import bound_socket, make_service, run

    listening = bound_socket(service["host"], service["port"])
    from ruri_kedro.service.selection import Selection

    selection = Selection.of(service, params.get("promotion"), params.get("recipe"))
    if selection.asks_registry:
        connect(context)
    with without_collector():
        made = make_service(
            params,
            selection,
            collection=named_collection(context, params, service["collection"]),
            project=context.project_path,
            tell=click.echo,
        )
    host, port = listening.getsockname()[:2]
    click.echo(f"http://{f'[{host}]' if ':' in host else host}:{port}")
    run(made, listening, token)
