"""`kedro ruri sweep-report`: the best cells of a file of results, and their tables."""

from collections.abc import Sequence
from pathlib import Path

import click


@click.command("sweep-report")
@click.option(
    "--results", required=True, type=click.Path(exists=True, dir_okay=False, path_type=Path), help="CSV file."
)
@click.option(
    "--out", required=True, type=click.Path(dir_okay=False, path_type=Path),
    help="CSV file for the best cells; tables as .md and .html and heat maps as .svg are written beside it.",
)  # fmt: skip
@click.option("--group", "groups", multiple=True, default=("model_name", "dataset_name"), show_default=True,
              help="Column: one cell is chosen for each of its values; the first is the model.")  # fmt: skip
@click.option("--setting", "settings", multiple=True, default=("lr", "batch_size"), show_default=True,
              help="Column of a setting that was searched.")  # fmt: skip
@click.option(
    "--choose", default="best-dev", show_default=True, help="Column of the development set; higher is better."
)
def sweep_report(results: Path, out: Path, groups: Sequence[str], settings: Sequence[str], choose: str) -> None:
    """Choose the best cell of each model and data set on the development set, and write the tables of all."""
    from ruri_kedro.datasets import MarkdownDataset
    from ruri_kedro.experiments.heat_maps import heat_map_sheet
    from ruri_kedro.experiments.selection import Columns, read_results, select_best
    from ruri_kedro.experiments.selection_report import heat_maps, markdown, selection_tables
    from ruri_kedro.tables.files import replace_file

    columns = Columns(tuple(groups), tuple(settings), choose)
    rows = read_results(results, columns)
    selection = select_best(rows, columns)
    tables, title = selection_tables(selection, columns), f"Best cells of {results.name}"
    maps, chart, text = heat_maps(rows, columns), out.with_suffix(".svg"), out.with_suffix(".md")
    made = {out: selection.best.to_csv(index=False)} | ({chart: heat_map_sheet(maps)} if maps else {})
    for path, content in made.items():
        with replace_file(path) as aside:
            aside.write_text(content, "utf-8")
    report = markdown(title, tables, selection.notes, columns, chart=chart.name if maps else None)
    MarkdownDataset(filepath=str(text)).save(report)
    written = [*made, text, text.with_suffix(".html")]
    for note in selection.notes:
        click.echo(note)
    click.echo(f"{len(selection.best)} best of {len(rows)} cells: {', '.join(map(str, written))}")
