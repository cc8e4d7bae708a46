"""`kedro ruri embedding-map`: the vectors of a registered model in two dimensions."""

import tempfile
from pathlib import Path

import click

from ruri_kedro.cli.project import registry_context
from ruri_kedro.cli.publish import block_of, sized
from ruri_kedro.errors import RecipeError

_FILE = "embedding_map.html"


@click.command("embedding-map")
@click.argument("model")
@click.option(
    "--rows", default=2000, show_default=True, type=click.IntRange(3, 20_000), help="Passages that are shown."
)
@click.option("--out", type=click.Path(file_okay=False, path_type=Path), help="Folder for a copy of the page.")
@click.option("--env", "-e", default=None, help="Environment (recipe) whose passages are shown.")
@sized
def embedding_map(model: str, rows: int, out: Path | None, env: str | None, size: str | None) -> None:
    """Show passages by MODEL's vectors as points of a page, which is logged to MLflow beside the model."""
    context = registry_context(env, size)
    encoding = block_of(context.params, "encoding")
    from ruri_kedro.models.saved import SavedModel
    from ruri_kedro.registry.evidence.embedding_map import map_page, sample
    from ruri_kedro.registry.runs.tracking import log_file
    from ruri_kedro.registry.versions.registered import model_folder, resolve, version_of
    from ruri_kedro.tables.files import replace_file

    name, number = resolve(model)
    passages = sample(context.catalog.get("passages").table, rows, context.params["seed"])
    saved = SavedModel.of(str(model_folder(f"models:/{name}/{number}")), encoding["device"])
    if saved.is_cross_encoder or saved.is_multi_vector:
        raise RecipeError(f"model '{name}' has no vectors of texts. Name an embedder.")
    texts, prompt = [text for _, text in passages], saved.prompts.get("document", "")
    vectors = saved.encode(texts, prompt, encoding["max_length"], encoding["chunk_tokens"])
    page = map_page(f"{name} version {number}", passages, vectors)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / _FILE
        path.write_text(page, encoding="utf-8")
        log_file(version_of(name, number).run_id, path)
    if out is not None:
        with replace_file(out / _FILE) as aside:
            aside.write_text(page, encoding="utf-8")
    click.echo(
        f"{len(passages)} passages of {name} version {number}: {_FILE}, an artifact of the run that registered it"
    )
