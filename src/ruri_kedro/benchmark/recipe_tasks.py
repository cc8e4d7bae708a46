"""Any model on the tasks of a recipe: an embedder, a cross-encoder, late interaction or BM25, outside the pipelines.

Each task is a part of a table of scores by query, with the run beside it as a TREC file. A task that is there for the
same model, data and settings is not evaluated again, so an evaluation that was killed goes on with the first missing.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from ruri_kedro.benchmark.comparing.report import table_by_metric
from ruri_kedro.benchmark.mteb.model import EncodingSettings
from ruri_kedro.benchmark.mteb.prompts import TYPES, named_prompts, saved_prompts
from ruri_kedro.benchmark.runs import Run, write_qrels, write_run
from ruri_kedro.benchmark.scoring.evaluate import (
    Encode,
    Score,
    embedder_runs,
    evaluate_candidates,
    evaluate_embedder,
    evaluate_reranking,
    evaluate_run,
    rerank_run,
    rerank_run_by_vectors,
    summarize,
)
from ruri_kedro.benchmark.scoring.exact import best_documents
from ruri_kedro.benchmark.tasks.load import RerankingTask, RetrievalTask, Task
from ruri_kedro.benchmark.tasks.stored import stored_digest, stored_task
from ruri_kedro.errors import RecipeError
from ruri_kedro.tables import SCHEMAS, Part, Table, write_table
from ruri_kedro.tables.code import behaviour_digest
from ruri_kedro.tables.files import replace_file
from ruri_kedro.tables.store import blocks, key_of

if TYPE_CHECKING:
    from ruri_kedro.models.saved import SavedModel

# (documents, queries, depth) -> hits of each query: BM25, which is another room's affair.
Search = Callable[[Mapping[str, str], Sequence[str], int], list[list[tuple[str, float]]]]

# (queries, passages) -> scores of all, (queries, passages).
ScoreAll = Callable[[Sequence[str], Sequence[str]], np.ndarray]

# What `Judged` is given to encode and to search with, by name, since it comes from those who call.
_HANDED_OVER = ("ruri_kedro.models.saved.SavedModel", "ruri_kedro.search.bm25.index.searcher_of")

_FOUND = 1000  # rank to which BM25 looks for given candidates; those it does not find score 0


@dataclass(frozen=True)
class Judged:
    """A model and how it is asked; with neither `encode` nor `score` it is BM25.

    With `score_all` it searches collections of up to `exact_documents`, and orders BM25's candidates of larger ones.
    """

    name: str
    key: str  # of the model and all its settings
    search: Search
    depth: int  # of runs, and BM25's candidates that a cross-encoder orders
    encode: Encode | None = None
    score: Score | None = None
    score_all: ScoreAll | None = None
    exact_documents: int = 0

    def evaluate(self, task: Task, folder: Path, seed: int) -> list[dict]:
        """Rows of SCORES for a task; its runs are written to `folder`. None for a task that the model cannot do."""
        if not isinstance(task, RetrievalTask):
            return evaluate_embedder(self.name, task, self.encode, seed=seed)
        if isinstance(task, RerankingTask):
            run = self._order(task)
            rows = evaluate_candidates(self.name, task, run)
        elif self.score is not None and len(task.corpus) > self.exact_documents:
            run = rerank_run(self._bm25(task, self.depth), task, self.score)
            rows = evaluate_reranking(self.name, task, run)
        else:
            run = self._find(task)
            rows = evaluate_run(self.name, task, run)
        write_run(folder / "run.trec.gz", run, "_".join(self.name.split()))
        write_qrels(folder / "qrels.trec.gz", task.qrels)
        return rows

    def can(self, kind: str) -> bool:
        """Whether the model can do tasks of a type."""
        return kind in ("retrieval", "reranking") or self.encode is not None

    @staticmethod
    def bm25(search: Search, settings: Mapping[str, Any], depth: int) -> "Judged":
        """BM25 with these settings."""
        return Judged("bm25", key_of(bm25=dict(settings), depth=depth), search, depth)

    @staticmethod
    def of(
        model: "SavedModel",
        params: Mapping[str, Any],
        prompts: str | None,
        own: Mapping[str, str],
        search: Search,
        bm25: Mapping[str, Any],
        depth: int,
    ) -> "Judged":
        """A saved model of any kind, asked as the parameters `mteb` say, with the prompts of this name.

        Without a name an embedder has those it was saved with; `own` are the recipe's. Of late interaction the
        prompts and lengths are the model's own, and a cross-encoder has none.
        """
        asks_pairs = model.is_multi_vector or model.is_cross_encoder
        if prompts is None:
            chosen: Mapping[str, str] = {} if asks_pairs else saved_prompts(model.name, model.prompts, params, own)
        else:
            chosen = named_prompts(params, prompts)
        settings = EncodingSettings.of(params, {} if asks_pairs else chosen)
        if model.is_multi_vector:
            return Judged._late(model, params["exact_documents"], settings.chunk_tokens, search, bm25, depth)
        asked = {"length": settings.max_length, "prompts": dict(settings.prompts), "bm25": dict(bm25), "depth": depth}
        key = key_of(model=[model.name, model.revision], **asked)
        if model.is_cross_encoder:
            from ruri_kedro.models.forward import score_pairs

            def score(pairs: list[tuple[str, str]]) -> Any:
                return score_pairs(model.cross_encoder, pairs, settings.max_length, settings.chunk_tokens)

            return Judged(model.name, key, search, depth, score=score)

        def encode(texts: list[str], role: str) -> Any:
            key = TYPES.get(role, role)
            if key not in settings.prompts:
                where = f"mteb.prompts.{prompts}.{key}" if prompts else f"model '{model.name}', prompt '{key}'"
                sets = ", ".join(params["prompts"])
                raise RecipeError(
                    f"{where}: missing. Give one, '' for none, in a set of mteb.prompts. There are: {sets}."
                )
            return model.encode(texts, settings.prompts[key], settings.max_length, settings.chunk_tokens)

        return Judged(model.name, key, search, depth, encode=encode)

    @staticmethod
    def _late(
        model: "SavedModel", exact: int, chunk_tokens: int, search: Search, bm25: Mapping[str, Any], depth: int
    ) -> "Judged":
        from ruri_kedro.models.late_interaction import LateInteraction

        late = LateInteraction(model.multi_vector, chunk_tokens)
        key = key_of(model=[model.name, model.revision], exact_documents=exact, bm25=dict(bm25), depth=depth)
        return Judged(model.name, key, search, depth, score=late.score, score_all=late.search, exact_documents=exact)

    def _find(self, task: RetrievalTask) -> Run:
        if self.score_all is not None:
            scores = self.score_all(list(task.queries.values()), list(task.corpus.values()))
            return best_documents(list(task.queries), list(task.corpus), scores, self.depth)
        if self.encode is None:
            return self._bm25(task, self.depth)
        return embedder_runs(self.name, task, self.encode, self.depth, {})[0]

    def _order(self, task: RerankingTask) -> Run:
        candidates = {qid: dict.fromkeys(docids, 0.0) for qid, docids in task.candidates.items()}
        if self.encode is not None:
            return rerank_run_by_vectors(self.name, candidates, task, self.encode)
        if self.score is not None:
            return rerank_run(candidates, task, self.score)
        found = self._bm25(task, _FOUND)
        return {qid: {docid: found[qid].get(docid, 0.0) for docid in docids} for qid, docids in candidates.items()}

    def _bm25(self, task: RetrievalTask, depth: int) -> Run:
        found = self.search(task.corpus, list(task.queries.values()), depth)
        return {qid: dict(hits) for qid, hits in zip(task.queries, found, strict=True)}


def evaluate_recipe(
    model: Judged, test_sets: Path, types: Mapping[str, str], out: Path, seed: int, on_task: Callable[[str], Any]
) -> str:
    """Evaluate a model on stored tasks (`types` by name) below `out`; the table of all models there, as Markdown.

    Leaves <out>/<model>/scores (a table of scores, a part per task), <out>/<model>/runs/<task> and <out>/recipe.md.
    `on_task` is told what is evaluated and what is left out.
    """
    home = out / model.name.replace("/", "__")
    wanted = {name for name, kind in types.items() if model.can(kind)}
    for name in sorted(types.keys() - wanted):
        on_task(f"{name}: not a task for {model.name}")

    def part(name: str) -> Part:
        def rows() -> list[dict]:
            on_task(f"{name} ...")
            return model.evaluate(stored_task(test_sets, name), home / "runs" / name, seed)

        code = behaviour_digest(Judged, stored_task, *_HANDED_OVER)
        key = key_of(model=model.key, task=stored_digest(test_sets, name), seed=seed, code=code)
        return Part(key, lambda: blocks(rows()))

    present = dict.fromkeys(Table(home / "scores", SCHEMAS["scores"]).parts())
    write_table(home / "scores", SCHEMAS["scores"], present | {name: part(name) for name in types if name in wanted})
    text = table_by_metric(_means(out))
    with replace_file(out / "recipe.md") as aside:
        aside.write_text(text, encoding="utf-8")
    return text


def _means(out: Path) -> pl.DataFrame:
    """Means by model and task of all tables of scores below `out`."""
    folders = sorted(path for path in Path(out).glob("*/scores") if path.is_dir())
    tables = ((folder.parent.name.replace("__", "/"), Table(folder, SCHEMAS["scores"])) for folder in folders)
    return summarize({**row, "model": name} for name, table in tables for row in table.iter_rows())
