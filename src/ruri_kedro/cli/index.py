"""Commands around an index of token vectors."""

from pathlib import Path

import click

_TARGETS = ("lancedb", "qdrant", "vespa")


@click.group()
def index() -> None:
    """Work with an index of token vectors."""


@index.command("export")
@click.argument("folder", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option("--to", required=True, type=click.Choice(_TARGETS), help="The engine that shall read it.")
@click.option("--out", required=True, type=click.Path(file_okay=False, path_type=Path), help="New folder.")
def export_index(folder: Path, to: str, out: Path) -> None:
    """Write the documents of the index in FOLDER as multi-vectors of another engine."""
    from ruri_kedro.search.multi_vector.export import export_index as export
    from ruri_kedro.search.multi_vector.export import read_by

    click.echo(f"{export(folder, to, out)} documents in {out}. {read_by(to)}")
