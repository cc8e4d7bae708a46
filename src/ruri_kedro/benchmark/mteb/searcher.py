"""A late interaction model as mteb's evaluators of retrieval and reranking want it."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mteb._create_dataloaders import create_dataloader
from mteb.models.model_meta import ModelMeta, ScoringFunction
from mteb.types import PromptType

from ruri_kedro.benchmark.mteb.queries import SEARCHES
from ruri_kedro.benchmark.scoring.asking import multi_vector
from ruri_kedro.benchmark.scoring.models import MultiVector
from ruri_kedro.benchmark.scoring.token_index import TokenIndexes
from ruri_kedro.benchmark.tasks.retrieval import RetrievalTask
from ruri_kedro.tables.code import behaviour_digest
from ruri_kedro.tables.store import key_of

if TYPE_CHECKING:
    from ruri_kedro.models.saved import SavedModel

_LOADS = "ruri_kedro.models.saved.SavedModel"  # by name: it is handed over by those who call
_EVALUATES = "ruri_kedro.benchmark.mteb.run.evaluate_tasks"


def searches(task: Any) -> bool:
    """Whether a task has queries and documents, the only ones that late interaction can do."""
    return task.metadata.type in SEARCHES


@dataclass
class BenchmarkSearcher:
    """mteb's search protocol: MaxSim of every document, of a larger collection through an index, and of candidates.

    Prompts and lengths are the model's own. mteb calls `index`, then `search`.
    """

    mteb_model_meta: ModelMeta
    model: MultiVector
    settings: Mapping[str, Any]  # of the parameters, what scores depend on
    documents: Mapping[str, str] | None = None  # of the task at work

    @property
    def described(self) -> dict[str, Any]:
        """What all results in a folder have in common."""
        return {"settings": dict(self.settings)}

    def task_key(self, task: Any) -> str:
        """Key of everything that a task's scores depend on."""
        return key_of(
            model=[self.mteb_model_meta.name, self.mteb_model_meta.revision],
            data=[task.metadata.name, task.metadata.dataset["revision"], list(task.eval_splits), list(task.hf_subsets)],
            settings=self.settings,
            code=[version("mteb"), behaviour_digest(BenchmarkSearcher, multi_vector, TokenIndexes, _LOADS, _EVALUATES)],
        )

    def index(self, corpus: Any, *, task_metadata: Any, encode_kwargs: Any, **kwargs: Any) -> None:
        """Keep the documents."""
        self.documents = _texts(corpus, task_metadata, PromptType.document, encode_kwargs)

    def search(
        self,
        queries: Any,
        *,
        task_metadata: Any,
        top_k: int,
        encode_kwargs: Any,
        top_ranked: Mapping[str, list[str]] | None = None,
        **kwargs: Any,
    ) -> dict[str, dict[str, float]]:
        """The first `top_k` documents of each query with their scores, or its `top_ranked` ones."""
        asked = _texts(queries, task_metadata, PromptType.query, encode_kwargs)
        task = RetrievalTask(task_metadata.name, asked, dict(self.documents or {}), {})
        if top_ranked is not None:
            return self.model.order(task, {qid: dict.fromkeys(top_ranked[qid], 0.0) for qid in asked})
        small = len(task.corpus) <= self.model.exact_documents
        return (replace(self.model, find=None) if small else self.model).search(task, top_k, {})[0]


def benchmark_searcher(
    model: "SavedModel", params: Mapping[str, Any], index: Mapping[str, Any], out: Path
) -> BenchmarkSearcher:
    """A saved model by the parameters `mteb` and `multi_vector`, with its indexes below `out`."""
    limits = {name: params[name] for name in ("chunk_tokens", "exact_documents")}
    indexes = TokenIndexes(Path(out) / "indexes", index, model.revision)
    asked = partial(multi_vector, model.name, lambda: model.multi_vector, {})
    fields = {
        "name": model.name,
        "revision": model.revision,
        "similarity_fn_name": ScoringFunction.MAX_SIM,
        "framework": ["Sentence Transformers"],
    }
    settings = {"exact_documents": params["exact_documents"], "index": dict(index)}
    meta = ModelMeta.create_empty(overwrites=fields)
    return BenchmarkSearcher(meta, asked({**limits, "index": indexes}), settings)


def _texts(rows: Any, metadata: Any, side: PromptType, encode_kwargs: Mapping[str, Any]) -> dict[str, str]:
    """Texts by id, as mteb makes them of titles and other columns."""
    loader = create_dataloader(rows, task_metadata=metadata, prompt_type=side, **encode_kwargs)
    return dict(zip(rows["id"], (text for batch in loader for text in batch["text"]), strict=True))
