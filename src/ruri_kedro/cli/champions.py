"""`kedro ruri champions`: the versions of a registered model that were promoted, and what they scored."""

from pathlib import Path

import click

from ruri_kedro.cli.project import registry_context, reporting_folder
from ruri_kedro.cli.publish import block_of, sized


@click.command()
@click.option("--env", "-e", default=None, help="Environment (recipe) whose rules and tracking server are used.")
@click.option("--model", help="Registered model. Default: promotion.model of the recipe.")
@click.option(
    "--out",
    type=click.Path(file_okay=False, path_type=Path),
    help="Folder for champions.md, champions.html and champions.svg. Default: data/08_reporting/<recipe>",
)
@sized
def champions(env: str | None, model: str | None, out: Path | None, size: str | None) -> None:
    """List the champions so far with their main metrics and intervals, and draw these over the versions."""
    context = registry_context(env, size)
    rules = block_of(context.params, "promotion")
    from ruri_kedro.datasets import MarkdownDataset
    from ruri_kedro.registry.promotion import champions as history
    from ruri_kedro.registry.promotion.rules import parse_rules, released_name
    from ruri_kedro.tables.files import replace_file
    from ruri_kedro.text.pictures import svg_of

    name = released_name(rules, model or rules["model"])
    found = history.champions(name)
    tasks = history.gated_tasks(found, parse_rules(rules).tasks)
    folder = out or reporting_folder(context)
    click.echo(history.champions_text(name, found, tasks), nl=False)
    if found:
        with replace_file(folder / "champions.svg") as aside:
            aside.write_text(svg_of(history.champions_plot(found, tasks)), encoding="utf-8")
    page = folder / "champions.md"
    MarkdownDataset(filepath=str(page)).save(
        history.champions_text(name, found, tasks, "champions.svg" if found else None)
    )
    click.echo(f"{page}\n{page.with_suffix('.html')}")
