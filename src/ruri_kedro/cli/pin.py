"""`kedro ruri pin`: the commits of what a recipe takes from the hub, and whether all of it can be had."""

from collections.abc import Mapping
from typing import Any

import click

from ruri_kedro.cli.pin_report import Report
from ruri_kedro.cli.written_recipe import WrittenRecipe
from ruri_kedro.corpora.hub_facts import Pin, RepositoryFacts, ask_hub, bounded_answers
from ruri_kedro.errors import RecipeError, RuriError
from ruri_kedro.recipe.revisions import Revisions, named, read_revisions, revisions_text, with_revisions


@click.command()
@click.option("--env", "-e", default=None, help="Environment (recipe) whose models and data sets are asked for.")
@click.option("--check", is_flag=True, help="Report only: write nothing.")
def pin(env: str | None, check: bool) -> None:
    """Ask the hub for the commit of every model and data set that a recipe names, and keep them in revisions.yml.

    Also says what of them can be read, and which files have to be fetched. Ends with 1 if something cannot be had.
    """
    recipe = WrittenRecipe.of(env)
    with bounded_answers():
        facts = ask_hub(recipe.pins)
        commits = {repository: found.commit for (repository, own), found in facts.items()
                   if own is None and isinstance(found, RepositoryFacts)}  # fmt: skip
        faults = unreadable(recipe, facts, commits)
    report = Report.of(recipe, facts, faults)
    click.echo(report.text, nl=False)
    if not check:
        keep(recipe, commits)
    if report.problems:
        raise click.ClickException(f"{report.problems} of what the recipe names cannot be had as it wants: see above.")


def unreadable(recipe: WrittenRecipe, facts: Mapping[Pin, Any], commits: Revisions) -> dict[str, str]:
    """By the name of a source or task why the first row of its data sets cannot be used.

    Data sets that the hub has refused already are left out.
    """
    from ruri_kedro.benchmark.mteb.hub_tasks import check_fields
    from ruri_kedro.corpora.rows import check_first_row
    from ruri_kedro.corpora.source import parse_sources

    refused = {repository.id for (repository, _), found in facts.items() if isinstance(found, str)}
    params = with_revisions(recipe.params, commits)
    faults = {}
    for name, source in parse_sources(params.get("sources", {})).items():
        hubs = [place for place in source.inputs if place.hub and not place.hub.is_local]
        try:
            for place in hubs if not any(place.hub.id in refused for place in hubs) else ():
                check_first_row(source, recipe.raw, place)
        except RuriError as error:
            faults[name] = str(error)
    for name, spec in params.get("tasks", {}).items():
        try:
            if not any(row.repository.id in refused for row in named(spec)):
                check_fields(spec)
        except RuriError as error:
            faults[name] = str(error)
    return faults


def keep(recipe: WrittenRecipe, commits: Revisions) -> None:
    """Write revisions.yml: the commits of today, and those that it has of what could not be asked for."""
    from ruri_kedro.tables.files import replace_file

    wanted = {repository for repository, own in recipe.pins if own is None}
    try:
        before = read_revisions(recipe.file)
    except RecipeError as error:
        click.echo(f"{error} All of it is written anew.")
        before = {}
    after = {repository: commit for repository, commit in before.items() if repository in wanted} | commits
    if after == before:
        click.echo(f"{recipe.file}: unchanged")
        return
    for repository, commit in sorted(after.items()):
        if commit != (old := before.get(repository)):
            click.echo(f"{repository}: {old[:12] if old else 'new'} -> {commit[:12]}")
    with replace_file(recipe.file) as aside:
        aside.write_text(revisions_text(after, recipe.command), "utf-8")
    click.echo(f"{recipe.file}: {len(after)} commits. Commit this file.")
