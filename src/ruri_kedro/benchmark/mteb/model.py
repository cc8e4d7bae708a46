"""An embedding model as mteb's evaluators want it: prompts by task, token budgets, each text encoded once."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from mteb.models.abs_encoder import AbsEncoder, get_prompt
from mteb.models.model_meta import ModelMeta, ScoringFunction
from mteb.types import PromptType

from ruri_kedro.benchmark.mteb.prompts import named_prompts
from ruri_kedro.benchmark.mteb.queries import SEARCHES
from ruri_kedro.benchmark.mteb.vectors import VectorStore, text_keys
from ruri_kedro.benchmark.settings import MtebTaskRow
from ruri_kedro.errors import DataError, RecipeError
from ruri_kedro.recipe.parse import parse
from ruri_kedro.tables.code import behaviour_digest
from ruri_kedro.tables.store import key_of
from ruri_kedro.text.prompts import with_prompt

# (texts, prompt, max_length, chunk_tokens) -> float32 (n, d), rows of length 1.
EncodeTexts = Callable[[list[str], str, int, int], np.ndarray]

# What does the work, by name: it is handed over by those who call, or stands above.
_ENCODES = "ruri_kedro.models.saved.SavedModel"
_EVALUATES = "ruri_kedro.benchmark.mteb.run.evaluate_tasks"

_BLOCK_TEXTS = 16_384  # written together: what a killed run loses at most


@dataclass(frozen=True)
class EncodingSettings:
    """How the texts of a benchmark are encoded.

    `prompts` has mteb's keys: a task, a type of task (Classification, STS, ...), either with `-query` or `-document`,
    or `query` and `document` alone; the first that is there, in this order, is used. `tasks` changes `max_length`
    (tokens) or `chunk_tokens` (padded tokens of one forward pass) for the tasks it names.
    """

    prompts: Mapping[str, str]
    max_length: int
    chunk_tokens: int
    tasks: Mapping[str, Mapping[str, int]] = field(default_factory=dict)

    @staticmethod
    def of(params: Mapping[str, Any], prompts: str | Mapping[str, str]) -> "EncodingSettings":
        """From the parameters `mteb`, with these prompts or those of this name; RecipeError for what they have not."""
        chosen = named_prompts(params, prompts) if isinstance(prompts, str) else prompts
        for task, row in params["tasks"].items():
            parse(MtebTaskRow, row, f"mteb.tasks.{task}")
        return EncodingSettings(chosen, params["max_length"], params["chunk_tokens"], params["tasks"])

    def length_of(self, task: str) -> int:
        """Tokens that a text of the task is cut to."""
        return self.tasks.get(task, {}).get("max_length", self.max_length)

    def chunk_of(self, task: str) -> int:
        """Padded tokens of one forward pass for the task."""
        return self.tasks.get(task, {}).get("chunk_tokens", self.chunk_tokens)

    def prompt(self, metadata: Any, side: PromptType | None) -> str:
        """The prompt of a task's texts; RecipeError where none is given (no prompt is `''`)."""
        prompt = get_prompt(dict(self.prompts), metadata, side)
        if prompt is None:
            keys = [metadata.name, metadata.type, *([side.value] if side else [])]
            raise RecipeError(
                f"task '{metadata.name}': the prompts have none of the keys {', '.join(keys)}. Give one, '' for none, "
                "in a set of mteb.prompts, and name the set (--prompts)."
            )
        return prompt

    def task_prompts(self, task: Any) -> dict[str, str]:
        """Every prompt that a task uses, by side; RecipeError as `prompt`."""
        if task.metadata.type in SEARCHES:
            sides = {PromptType.query, PromptType.document}
        else:
            sides = {getattr(task, "input1_prompt_type", None), getattr(task, "input2_prompt_type", None)}
        return {side.value if side else "text": self.prompt(task.metadata, side) for side in sides}


class BenchmarkEncoder(AbsEncoder):
    """mteb's encoder protocol around `encode`, with the vectors of all tasks in one store.

    The instructions that mteb keeps for its tasks are not used: `settings` has all prompts.
    """

    def __init__(
        self, name: str, revision: str, encode: EncodeTexts, settings: EncodingSettings, store: VectorStore
    ) -> None:
        """`name` has the form owner/model; `revision` is a commit or a digest, as the folder of the results."""
        self.settings = settings
        self.mteb_model_meta = _meta(name, revision)
        self._encode = encode
        self._store = store

    @property
    def described(self) -> dict[str, Any]:
        """What all results in a folder have in common: prompts and lengths."""
        settings = self.settings
        lengths = {task: row["max_length"] for task, row in settings.tasks.items() if "max_length" in row}
        return {"prompts": dict(settings.prompts), "lengths": {"max_length": settings.max_length, **lengths}}

    def task_key(self, task: Any) -> str:
        """Key of everything that a task's scores depend on."""
        name = task.metadata.name
        return key_of(
            model=[self.mteb_model_meta.name, self.mteb_model_meta.revision],
            data=[name, task.metadata.dataset["revision"], list(task.eval_splits), list(task.hf_subsets)],
            encoding=[self.settings.task_prompts(task), self.settings.length_of(name)],
            code=[version("mteb"), behaviour_digest(BenchmarkEncoder, _ENCODES, _EVALUATES)],
        )

    def encode(
        self,
        inputs: Any,
        *,
        task_metadata: Any,
        hf_split: str,
        hf_subset: str,
        prompt_type: PromptType | None = None,
        **kwargs: Any,
    ) -> np.ndarray:
        """float32 (texts, dimension), rows of length 1, in the order of the texts of mteb's data loader."""
        name = task_metadata.name
        prompt, max_length = self.settings.prompt(task_metadata, prompt_type), self.settings.length_of(name)
        texts = [text for batch in inputs for text in batch["text"]]
        keys = text_keys([with_prompt(prompt, text) for text in texts], max_length)
        missing = self._store.missing(keys)
        for start in range(0, len(missing), _BLOCK_TEXTS):
            rows = missing[start : start + _BLOCK_TEXTS]
            vectors = self._encode([texts[row] for row in rows], prompt, max_length, self.settings.chunk_of(name))
            self._store.add(keys[rows], _checked(vectors, len(rows), name))
        return self._store.get(keys)


def benchmark_encoder(
    name: str, revision: str, encode: EncodeTexts, settings: EncodingSettings, out: Path
) -> BenchmarkEncoder:
    """The encoder with its vectors below `out`, in a folder for this model and this code."""
    key = key_of(model=[name, revision], code=behaviour_digest(VectorStore, text_keys, _ENCODES))
    return BenchmarkEncoder(name, revision, encode, settings, VectorStore(Path(out) / "vectors" / key))


def _checked(vectors: np.ndarray, count: int, task: str) -> np.ndarray:
    if vectors.ndim != 2 or len(vectors) != count or not np.isfinite(vectors).all():
        raise DataError(f"task '{task}': {count} finite vectors expected, the model gave shape {vectors.shape}.")
    return vectors


def _meta(name: str, revision: str) -> ModelMeta:
    fields = {
        "name": name,
        "revision": revision,
        "similarity_fn_name": ScoringFunction.COSINE,
        "framework": ["Sentence Transformers"],
    }
    return ModelMeta.create_empty(overwrites=fields)
