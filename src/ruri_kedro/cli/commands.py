"""Commands of the project: `kedro run` and `kedro ruri ...`. Kedro finds the group `cli` by its name."""

import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from kedro.framework.cli.utils import LazyGroup

from ruri_kedro.cli.index import index
from ruri_kedro.cli.mlflow_store import connect, explained, may_have_models, store_file
from ruri_kedro.cli.named_models import prompts_of_recipe, saved_model
from ruri_kedro.cli.project import project_context, registry_context, reporting_folder, stored_test_sets
from ruri_kedro.cli.publish import block_of, export, fetch, lineage, publish, sized
from ruri_kedro.errors import DataError, RecipeError, RuriError
from ruri_kedro.recipe.blocks import check_blocks

if TYPE_CHECKING:
    from ruri_kedro.benchmark.comparing.comparison import Comparison, Scores
    from ruri_kedro.benchmark.comparing.page import First, Texts
    from ruri_kedro.benchmark.mteb.run import Evaluated
    from ruri_kedro.models.saved import SavedModel

_resamples = click.option("--resamples", default=10_000, show_default=True, type=click.IntRange(100))
_seed = click.option("--seed", default=0, show_default=True, help="Seed of the resampling.")


class _Commands(LazyGroup):
    """A group whose commands end with one line where the input is at fault."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except RuriError as error:
            raise click.ClickException(str(error)) from error
        except click.ClickException:
            raise
        except Exception as error:
            message = explained(error, "the tracking database")
            if message is None:
                raise
            raise click.ClickException(message) from error


@click.group(name="ruri-kedro", cls=LazyGroup, lazy_subcommands={"run": "ruri_kedro.cli.run.run"})
def cli() -> None:
    """Commands of this project."""


_OWN_FILES = {
    "champions": "ruri_kedro.cli.champions.champions",
    "dvc": "ruri_kedro.cli.dvc_stages.dvc",
    "embedding-map": "ruri_kedro.cli.embedding_map.embedding_map",
    "new": "ruri_kedro.cli.new.new",
    "pin": "ruri_kedro.cli.pin.pin",
    "recipe": "ruri_kedro.cli.recipe.recipe",
    "serve": "ruri_kedro.cli.serve.serve",
    "sweep-report": "ruri_kedro.cli.sweep_report.sweep_report",
}


@cli.group(cls=_Commands, lazy_subcommands=_OWN_FILES)
def ruri() -> None:
    """Registered models, and the evidence for them."""


@ruri.command()
@click.option("--env", "-e", default=None, help="Environment whose mlflow.yml names the tracking server.")
def status(env: str | None) -> None:
    """List the registered models with their versions, aliases, last decision and test metrics."""
    context = project_context(env, anywhere="MLFLOW_TRACKING_URI" in os.environ, recipe=False)
    file, versions = store_file(context), []
    if file is None or (file.exists() and may_have_models(file)):
        connect(context)
        from ruri_kedro.registry.versions.models import list_registered

        versions = list_registered()
    if not versions:
        click.echo("No model is registered yet. Run: kedro run")
    for version in versions:
        click.echo(f"{version}  {version.decision}".rstrip())
        for line in _metric_lines(version.metrics):
            click.echo(line)


def _metric_lines(metrics: Mapping[str, float]) -> Iterator[str]:
    """A line for each metric of a version, with its 95% interval where that was logged."""
    from ruri_kedro.benchmark.comparing.intervals import HIGH, LOW

    for key, value in sorted(metrics.items()):
        if not key.endswith((LOW, HIGH)):
            bounds = [f"{metrics[key + ending]:.4f}" for ending in (LOW, HIGH) if key + ending in metrics]
            yield f"  {key:<40} {value:.4f}{'  ' * bool(bounds)}{' to '.join(bounds)}"


@ruri.command()
@click.option("--env", "-e", default=None, help="Environment (recipe) whose rules and tracking server are used.")
@click.option("--model", help="Registered model. Default: promotion.model of the recipe.")
@click.option("--version", "number", type=click.IntRange(1), help="Default: the one with the alias challenger.")
@click.option("--dry-run", is_flag=True, help="Judge only: move and record nothing.")
@sized
def promote(env: str | None, model: str | None, number: int | None, dry_run: bool, size: str | None) -> None:
    """Make a challenger the champion if it passes every gate; ends with 1 if it does not."""
    rules = _promotion_rules(env, size)
    from ruri_kedro.registry.promotion.promote import apply_decision, judge_version

    decision = judge_version(rules, model, number)
    if not dry_run:
        apply_decision(decision)
    click.echo(decision.to_markdown())
    if not decision.promoted:
        raise click.ClickException(decision.summary)


@ruri.command()
@click.option("--env", "-e", default=None, help="Environment (recipe) whose tracking server is used.")
@click.option("--model", help="Registered model. Default: promotion.model of the recipe.")
@sized
def rollback(env: str | None, model: str | None, size: str | None) -> None:
    """Give the alias champion back to the previous champion."""
    rules = _promotion_rules(env, size)
    from ruri_kedro.registry.promotion.promote import rollback as roll_back
    from ruri_kedro.registry.promotion.rules import released_name

    name = released_name(rules, model or rules["model"])
    new, old = roll_back(name)
    click.echo(f"{name}: version {new} is the champion again, version {old} is not.")


@ruri.command("score-runs")
@click.option("--runs", required=True, type=click.Path(path_type=Path), help="Folder of *.trec and *.trec.gz files.")
@click.option("--qrels", required=True, type=click.Path(path_type=Path), help="TREC judgments of their task.")
@click.option(
    "--out", required=True, type=click.Path(dir_okay=False, path_type=Path), help="JSON file for the means by run."
)
@click.option("--metric", "metrics", multiple=True, default=("ndcg@10", "mrr@10"), show_default=True)
@click.option("--compare", "baseline", help="Run to test all others against: writes <out>.comparison.json and .html.")
@_resamples
@_seed
def score_runs(
    runs: Path, qrels: Path, out: Path, metrics: Sequence[str], baseline: str | None, resamples: int, seed: int
) -> None:
    """Score TREC runs; equal scores stand in file order, a judged query that a run has not counts 0."""
    from ruri_kedro.benchmark.comparing.comparison import compare as compare_models
    from ruri_kedro.benchmark.scoring.trec import score_runs as score_folder
    from ruri_kedro.tables.files import write_json
    from ruri_kedro.text.layout import aligned

    metrics = list(dict.fromkeys(metrics))
    scored = score_folder(runs, qrels, metrics)
    means = {name: run.means() for name, run in scored.items()}
    rows = [(name, *(f"{value:.4f}" for value in found.values())) for name, found in means.items()]
    click.echo(aligned([("run", *metrics), *rows], left=1), nl=False)
    for name, run in scored.items():
        if run.missing or run.unjudged:
            click.echo(f"{name}: {run.missing} judged queries missing (count 0), {run.unjudged} not judged (left out)")
    comparison = None
    if baseline is not None:
        models = {name: [{("", metric): run.scores[metric] for metric in metrics}] for name, run in scored.items()}
        comparison = compare_models(models, baseline, metrics, resamples, seed)
    write_json(out, means)
    if comparison is not None:
        click.echo()
        _write_comparison(comparison, out.with_suffix(".comparison"), {})


@ruri.command()
@click.option("--env", "-e", default=None, help="Environment (recipe) whose score tables are read.")
@click.option(
    "--model",
    "named",
    multiple=True,
    metavar="NAME[=FOLDER]",
    help="A model of the recipe, or the score table in FOLDER under that name; a name given again is another seed of "
    "it. Default: every model of the recipe that has scores.",
)
@click.option("--baseline", help="Model that the others are tested against. Default: the first.")
@click.option("--metric", "metrics", multiple=True, help="Metric to test. Default: the main one of each task.")
@click.option(
    "--out",
    type=click.Path(file_okay=False, path_type=Path),
    help="Folder for comparison.json and comparison.html. Default: data/08_reporting/<recipe>",
)
@_resamples
@_seed
@sized
def compare(
    env: str | None,
    named: Sequence[str],
    baseline: str | None,
    metrics: Sequence[str],
    out: Path | None,
    resamples: int,
    seed: int,
    size: str | None,
) -> None:
    """Compare models by their scores per query, as a table, JSON and a page with the queries won and lost most."""
    context = project_context(env, size=size)
    models = _score_tables(context.catalog, named)

    from ruri_kedro.benchmark.comparing.comparison import compare as compare_models
    from ruri_kedro.benchmark.comparing.page import query_texts
    from ruri_kedro.benchmark.comparing.text import means_text

    if baseline == "random" and baseline not in models:
        baseline = "base"  # its name in 0.1
    comparison = compare_models(models, baseline or next(iter(models)), list(metrics) or None, resamples, seed)
    click.echo(means_text(comparison))
    texts: Texts = {}
    if context.catalog.exists("test_texts"):
        own = [name for name in models if not any(text.startswith(f"{name}=") for text in named)]
        first = _first_documents(context.catalog, comparison, own)
        texts = query_texts(comparison, context.catalog.load("test_texts").iter_rows(), first)
    folder = out or reporting_folder(context)
    _write_comparison(comparison, folder / "comparison", texts)


@ruri.command()
@click.option("--env", "-e", default=None, help="Environment whose parameters `mteb` and mlflow.yml are read.")
@click.option(
    "--model",
    "reference",
    required=True,
    help="A folder, models:/<name>@<alias> or models:/<name>/<version> of the registry, <owner>/<model>@<commit>; "
    "for --benchmark recipe also bm25.",
)
@click.option(
    "--benchmark",
    default="MTEB(jpn, v1)",
    show_default=True,
    help="mteb's name, or `recipe` for the recipe's own tasks, which cross-encoders, late interaction models and bm25 "
    "can do too.",
)
@click.option("--task", "only", multiple=True, help="Run only this task of the benchmark; may be given again.")
@click.option("--prompts", help="Name in the parameters mteb.prompts. Default: the prompts the model was saved with.")
@click.option(
    "--out", required=True, type=click.Path(file_okay=False, path_type=Path), help="Folder of results and vectors."
)
def evaluate(
    env: str | None, reference: str, benchmark: str, only: Sequence[str], prompts: str | None, out: Path
) -> None:
    """Evaluate a model on a benchmark; a task that is done for it is not run again."""
    # A model in a folder can be evaluated by mteb anywhere; the recipe's own tasks are those of a project.
    context = project_context(env, anywhere=benchmark != "recipe")
    if reference.startswith("models:/"):
        connect(context)
    if benchmark == "recipe":
        _evaluate_recipe(context, reference, only, prompts, out)
        return
    check_blocks(context.params, "prompts", "task_prompts", "mteb")
    params = context.params["mteb"]
    model = saved_model(reference, params["device"])

    from ruri_kedro.benchmark.mteb.run import evaluate_tasks, missing_tasks, write_report
    from ruri_kedro.benchmark.mteb.tasks import benchmark_tasks, check_data, hub_reachable

    tasks = benchmark_tasks(benchmark, only)
    if model.is_multi_vector:
        encoder, tasks = _searcher(context, model, tasks, out)
    else:
        encoder = _encoder(context, model, prompts, benchmark, out)
    missing = missing_tasks(tasks, encoder, out)
    click.echo(f"{benchmark}, {model.name}: {len(tasks) - len(missing)} of {len(tasks)} tasks are done already")
    if missing:
        check_data(missing, online=hub_reachable())
        # What cannot be loaded is to say so before any data are fetched.
        _ = model.multi_vector if model.is_multi_vector else model.model
    evaluate_tasks(missing, encoder, out, lambda done: click.echo(f"{done.task_name}: {100 * done.main_score:.2f}"))
    click.echo(write_report(benchmark, params["official"].get(benchmark, {}), out), nl=False)


def _encoder(context: Any, model: "SavedModel", prompts: str | None, benchmark: str, out: Path) -> "Evaluated":
    """A model of vectors as mteb asks it, with the prompts of this name or those it was saved with."""
    from ruri_kedro.benchmark.mteb.model import EncodingSettings, benchmark_encoder
    from ruri_kedro.benchmark.mteb.prompts import saved_prompts

    if model.is_cross_encoder:
        raise RecipeError(f"'{model.name}' has no vectors of texts, which {benchmark} needs. Use --benchmark recipe.")
    params = context.params["mteb"]
    chosen = prompts or saved_prompts(model.name, model.prompts, params, prompts_of_recipe(context.params))
    settings = EncodingSettings.of(params, chosen)
    return benchmark_encoder(model.name, model.revision, model.encode, settings, out)


def _searcher(context: Any, model: "SavedModel", tasks: list[Any], out: Path) -> tuple["Evaluated", list[Any]]:
    """A late interaction model as mteb asks it, and the tasks that it can do; of the others it is said."""
    from ruri_kedro.benchmark.mteb.searcher import benchmark_searcher, searches

    check_blocks(context.params, "multi_vector")
    able = [task for task in tasks if searches(task)]
    if others := [task.metadata.name for task in tasks if not searches(task)]:
        click.echo(f"not for {model.name}, which has no vectors of texts: {', '.join(others)}")
    if not able:
        raise RecipeError(f"'{model.name}' has no vectors of texts, and none of the tasks is a search.")
    return benchmark_searcher(model, context.params["mteb"], context.params["multi_vector"], out), able


def _evaluate_recipe(context: Any, reference: str, only: Sequence[str], prompts: str | None, out: Path) -> None:
    """Scores, runs and a table of a model on the tasks that `kedro run` has read for the recipe."""
    blocks = ("prompts", "task_prompts", "mteb", "evaluation", "multi_vector", "bm25", "tasks", "published")
    check_blocks(context.params, *blocks)
    sets, params = stored_test_sets(context), context.params
    saved = None if reference == "bm25" else saved_model(reference, params["mteb"]["device"])

    from ruri_kedro.benchmark.recipe_tasks import EvaluatedModel, evaluate_recipe
    from ruri_kedro.benchmark.scoring.token_index import TokenIndexes
    from ruri_kedro.search.bm25.index import searcher_of

    search = searcher_of(params["bm25"])
    depth = params["evaluation"]["depth"]
    if saved is None:
        model = EvaluatedModel.of_bm25(search, params["bm25"], depth)
    else:
        index = TokenIndexes.of(params["evaluation"], params["multi_vector"], saved.revision)
        model = EvaluatedModel.of(
            saved, params["mteb"], prompts, prompts_of_recipe(params), search, params["bm25"], depth, index
        )
    types = {name: spec["type"] for name, spec in params["tasks"].items()}
    for name in only:
        if name not in types:
            raise RecipeError(f"the recipe has no task '{name}'. It has: {', '.join(types)}.")
    chosen = {name: kind for name, kind in types.items() if not only or name in only}
    text = evaluate_recipe(model, sets, chosen, out, params["seed"], click.echo, params["published"])
    click.echo(text, nl=False)


@ruri.command("dvc-code")
def dvc_code() -> None:
    """Write dvc.code.yml, from which DVC knows what the code of each stage does."""
    from kedro.utils import find_kedro_project

    from ruri_kedro.cli.stage_code import FILE, write_stage_digests

    changed = write_stage_digests(find_kedro_project(Path.cwd()) or Path.cwd())
    click.echo(f"{FILE}: {'changed is the code of ' + ', '.join(changed) if changed else 'up to date'}")


for _command in (lineage, fetch, export, publish, index):
    ruri.add_command(_command)


def _promotion_rules(env: str | None, size: str | None) -> dict[str, Any]:
    """The block `promotion` of a recipe."""
    return block_of(registry_context(env, size).params, "promotion")


def _score_tables(catalog: Any, named: Sequence[str]) -> dict[str, list["Scores"]]:
    """Scores by query of each model, an item per seed."""
    tables: list[tuple[str, Any]] = []
    for name, _, folder in (text.partition("=") for text in named or _models_with_scores(catalog)):
        if folder:  # also one of `kedro ruri evaluate`, which grows task by task
            from ruri_kedro.tables import SCHEMAS, Table

            table = Table(Path(folder), SCHEMAS["scores"])
            complete, remedy = bool(table.parts()), "Name the folder that has a folder for each task"
        else:
            dataset = catalog.get(f"scores_{name}")
            table, complete, remedy = dataset.table, dataset.exists(), "Run: kedro run --pipelines evaluation"
        if not complete:
            raise DataError(f"model '{name}': no complete score table in {table.root}. {remedy}")
        tables.append((name, table))

    from ruri_kedro.benchmark.comparing.comparison import scores_by_query

    models: dict[str, list[Scores]] = {}
    for name, table in tables:
        models.setdefault(name, []).append(scores_by_query(table.iter_rows()))
    return models


def _models_with_scores(catalog: Any) -> list[str]:
    """Names of the recipe's score tables, sorted, but BM25 first: the others are tested against it."""
    folder = catalog.get("scores_bm25").table.root.parent
    found = (path.parent.name for path in folder.glob("*/manifest.json"))
    names = sorted(found, key=lambda name: (name != "bm25", name))
    if not names:
        raise DataError(f"{folder}: no score table here. Run: kedro run --pipelines evaluation")
    return names


def _first_documents(catalog: Any, comparison: "Comparison", models: Sequence[str]) -> "First":
    """The document that each of the recipe's own models puts first for a query, where its runs are there."""
    from ruri_kedro.benchmark.runs import ranked, read_run

    if not catalog.exists("runs"):
        return {}
    folder = catalog.load("runs")
    tasks = dict.fromkeys(result.task for result in comparison.results)
    files = {(model, task): folder / task / f"{model}.trec.gz" for model in models for task in tasks}
    runs = {key: read_run(path) for key, path in files.items() if path.exists()}
    return {key: {qid: ranked(scores)[0] for qid, scores in run.items()} for key, run in runs.items()}


def _write_comparison(comparison: "Comparison", stem: Path, texts: "Texts") -> None:
    """Print it, and write <stem>.json and <stem>.html."""
    from ruri_kedro.benchmark.comparing.page import comparison_page
    from ruri_kedro.benchmark.comparing.text import results_text
    from ruri_kedro.tables.files import replace_file, write_json

    if comparison.results:
        click.echo(results_text(comparison))
    data, page = (stem.with_name(stem.name + ending) for ending in (".json", ".html"))
    write_json(data, comparison.to_json())
    with replace_file(page) as aside:
        aside.write_text(comparison_page(comparison, texts), encoding="utf-8")
    click.echo(f"{data}\n{page}")
