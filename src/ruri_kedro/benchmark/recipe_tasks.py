"""Any model on the tasks of a recipe: an embedder, a cross-encoder, late interaction or BM25, outside the pipelines.

Each task is a part of a table of scores by query, with the run beside it as a TREC file. A task that is there for the
same model, data and settings is not evaluated again, so an evaluation that was killed goes on with the first missing.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl

from ruri_kedro.benchmark.comparing.published import published_table
from ruri_kedro.benchmark.comparing.report import table_by_metric
from ruri_kedro.benchmark.mteb.model import EncodingSettings
from ruri_kedro.benchmark.mteb.prompts import mteb_name, named_prompts, saved_prompts
from ruri_kedro.benchmark.runs import write_qrels, write_run
from ruri_kedro.benchmark.scoring import asking
from ruri_kedro.benchmark.scoring.evaluate import can_do, evaluate, summarize
from ruri_kedro.benchmark.scoring.models import Bm25, Embedder, Find, Model
from ruri_kedro.benchmark.scoring.token_index import TokenIndexes
from ruri_kedro.benchmark.tasks.stored import stored_digest, stored_task
from ruri_kedro.benchmark.tasks.types import Fitting, task_types
from ruri_kedro.errors import RecipeError
from ruri_kedro.tables import SCHEMAS, Part, Table, write_table
from ruri_kedro.tables.code import behaviour_digest
from ruri_kedro.tables.files import replace_file
from ruri_kedro.tables.store import blocks, key_of

if TYPE_CHECKING:
    from ruri_kedro.models.saved import SavedModel

# What `EvaluatedModel` is given to encode and to search with, by name, since it comes from those who call.
_HANDED_OVER = ("ruri_kedro.models.saved.SavedModel", "ruri_kedro.search.bm25.index.searcher_of", TokenIndexes)


@dataclass(frozen=True)
class EvaluatedModel:
    """A model with what it needs for tasks of any type."""

    model: Model
    key: str  # of the model and all its settings
    bm25: Bm25  # whose candidates are ordered where the model does not search
    depth: int  # of runs, and of BM25's candidates

    def evaluate(self, task: Any, folder: Path, seed: int) -> list[dict]:
        """Rows of SCORES for a task that the model can do; its run is written to `folder`, of a task with queries."""
        found = evaluate(self.model, task, self.depth, lambda: self.bm25.search(task, self.depth, {})[0], Fitting(seed))
        for run in found.runs.values():  # RUN or RERANKED
            write_run(folder / "run.trec.gz", run, "_".join(self.model.name.split()))
            write_qrels(folder / "qrels.trec.gz", task.qrels)
        return found.rows

    def can(self, kind: str) -> bool:
        """Whether the model can do tasks of a type."""
        return can_do(self.model, task_types()[kind])

    @staticmethod
    def of_bm25(search: Find, settings: Mapping[str, Any], depth: int) -> "EvaluatedModel":
        """BM25 with these settings."""
        model = Bm25("bm25", search)
        return EvaluatedModel(model, key_of(bm25=dict(settings), depth=depth), model, depth)

    @staticmethod
    def of(
        model: "SavedModel",
        params: Mapping[str, Any],
        prompts: str | None,
        own: Mapping[str, str],
        search: Find,
        bm25: Mapping[str, Any],
        depth: int,
        index: TokenIndexes | None = None,
    ) -> "EvaluatedModel":
        """A saved model of any kind, asked as the parameters `mteb` say, with the prompts of this name.

        Without a name an embedder has those it was saved with; `own` are the recipe's. Of late interaction the
        prompts and lengths are the model's own, and it searches through an `index` if one is given; a cross-encoder has
        no prompts.
        """
        # Prompts: those of the name, else the model's own.
        asks_pairs = model.is_multi_vector or model.is_cross_encoder
        if prompts is None:
            chosen: Mapping[str, str] = {} if asks_pairs else saved_prompts(model.name, model.prompts, params, own)
        else:
            chosen = named_prompts(params, prompts)
        # The model as it is asked, and what its results depend on.
        settings = EncodingSettings.of(params, {} if asks_pairs else chosen)
        if model.is_multi_vector:
            asked: dict[str, Any] = {"exact_documents": params["exact_documents"], "index": index and index.settings}
            made: Model = asking.multi_vector(model.name, lambda: model.multi_vector, {}, {**params, "index": index})
        else:
            asked = {"length": settings.max_length, "prompts": dict(settings.prompts)}
            if model.is_cross_encoder:
                made = asking.cross_encoder(model.name, lambda: model.cross_encoder, {}, params)
            else:
                made = _embedder(model, settings, prompts, params)
        key = key_of(model=[model.name, model.revision], **asked, bm25=dict(bm25), depth=depth)
        return EvaluatedModel(made, key, Bm25("bm25", search), depth)


def _embedder(
    model: "SavedModel", settings: EncodingSettings, prompts: str | None, params: Mapping[str, Any]
) -> Embedder:
    """`prompts` is the name of its set, where it has one."""

    def encode(texts: list[str], role: str) -> Any:
        key = mteb_name(role)
        if key not in settings.prompts:
            where = f"mteb.prompts.{prompts}.{key}" if prompts else f"model '{model.name}', prompt '{key}'"
            sets = ", ".join(params["prompts"])
            raise RecipeError(f"{where}: missing. Give one, '' for none, in a set of mteb.prompts. There are: {sets}.")
        return model.encode(texts, settings.prompts[key], settings.max_length, settings.chunk_tokens)

    return Embedder(model.name, encode)


def evaluate_recipe(
    model: EvaluatedModel,
    test_sets: Path,
    types: Mapping[str, str],
    out: Path,
    seed: int,
    on_task: Callable[[str], Any],
    published: Mapping[str, Any],
) -> str:
    """Evaluate a model on stored tasks (`types` by name) below `out`; the table of all models there, as Markdown.

    Leaves <out>/<model>/scores (a table of scores, a part per task), <out>/<model>/runs/<task> and <out>/recipe.md.
    `on_task` is told what is evaluated and what is left out. The table of a paper that `published` (the parameters of
    this name) describes stands below the other one.
    """
    # The tasks that the model can do; of the others it is said.
    called = model.model.name
    home = out / called.replace("/", "__")
    wanted = {name for name, kind in types.items() if model.can(kind)}
    for name in sorted(types.keys() - wanted):
        on_task(f"{name}: not a task for {called}")

    def part(name: str) -> Part:
        def rows() -> list[dict]:
            on_task(f"{name} ...")
            return model.evaluate(stored_task(test_sets, name), home / "runs" / name, seed)

        code = behaviour_digest(EvaluatedModel, stored_task, *_HANDED_OVER, *task_types()[types[name]].scoring)
        key = key_of(model=model.key, task=stored_digest(test_sets, name), seed=seed, code=code)
        return Part(key, lambda: blocks(rows()))

    # What is there already stays; then the table of all models.
    present = dict.fromkeys(Table(home / "scores", SCHEMAS["scores"]).parts())
    write_table(home / "scores", SCHEMAS["scores"], present | {name: part(name) for name in types if name in wanted})
    means = _means(out)
    paper = published_table(means, published)
    text = table_by_metric(means) + (f"\n{paper}" if paper else "")
    with replace_file(out / "recipe.md") as aside:
        aside.write_text(text, encoding="utf-8")
    return text


def _means(out: Path) -> pl.DataFrame:
    """Means by model and task of all tables of scores below `out`."""
    folders = sorted(path for path in Path(out).glob("*/scores") if path.is_dir())
    tables = ((folder.parent.name.replace("__", "/"), Table(folder, SCHEMAS["scores"])) for folder in folders)
    return summarize({**row, "model": name} for name, table in tables for row in table.iter_rows())
