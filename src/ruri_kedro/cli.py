"""Commands of the project: `kedro ruri ...`. Kedro finds the group `cli` by its name."""

from pathlib import Path

import click


@click.group(name="ruri-kedro")
def cli() -> None:
    """Commands of this project."""


@cli.group()
def ruri() -> None:
    """Models that this project registered."""


@ruri.command()
@click.option("--env", "-e", default=None, help="Environment whose mlflow.yml names the tracking server.")
def status(env: str | None) -> None:
    """List the registered models with their versions, aliases and test metrics."""
    from kedro.framework.session import KedroSession
    from kedro.utils import find_kedro_project

    from ruri_kedro.registry.models import list_registered

    project = find_kedro_project(Path.cwd()) or Path.cwd()
    with KedroSession.create(project_path=project, env=env) as session:
        session.load_context()  # the hooks settle where MLflow keeps its runs
    versions = list_registered()
    if not versions:
        click.echo("No model is registered yet. Run: kedro run")
    for version in versions:
        click.echo(str(version))
        for key, value in sorted(version.metrics.items()):
            click.echo(f"  {key:<40} {value:.4f}")
