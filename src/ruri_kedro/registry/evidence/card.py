"""The model card, in the form that the Hugging Face hub reads: YAML in front, Markdown after it."""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any

import numpy as np
import yaml

from ruri_kedro.benchmark.comparing.comparison import Scores, main_metrics, scores_by_query
from ruri_kedro.benchmark.comparing.significance import bootstrap_interval
from ruri_kedro.benchmark.tasks.types import task_types
from ruri_kedro.models.kinds import kind_called, kinds_of
from ruri_kedro.recipe.addresses import resolve
from ruri_kedro.recipe.stages import STAGES
from ruri_kedro.registry.evidence.card_texts import NOT_UNIT, UNIT, CardText
from ruri_kedro.registry.runs.training_runs import NO_RUN, UNTRAINED, changed_stages, commit_text, untrained_stages

# Of the parameters of a stage those that stand in the card.
_SETTINGS = ("max_length", "batch_size", "epochs", "learning_rate", "warmup_ratio", "warmup_steps", "weight_decay",
             "temperature", "matryoshka_dims", "precision")  # fmt: skip

_ORIGIN = "## How it was made"  # the only section that tells one run from another that did the same


@dataclass(frozen=True)
class CardFacts:
    """What a card says."""

    kind: str  # as evidence calls it
    name: str  # of the registered model
    prompts: Mapping[str, str]
    training: Mapping[str, Any]  # as training_data.training_of_kind
    contamination: Mapping[str, Any]
    scores: Sequence[Mapping[str, Any]]  # rows of SCORES
    tests: Mapping[str, Mapping[str, str]]
    licence: str
    limits: str
    unit_vectors: bool = True  # whether an embedder's vectors have length 1

    @property
    def base_model(self) -> Mapping[str, Any]:
        """Its block of the recipe; empty where it is not known."""
        return self.training["base_model"]

    @property
    def text(self) -> CardText:
        """What cards say of every model of the kind."""
        return resolve(kind_called(self.kind).card)

    @property
    def sources(self) -> Mapping[str, Mapping[str, Any]]:
        """As training_data.training_sources."""
        return self.training["sources"]

    @property
    def stages(self) -> dict[str, Mapping[str, Any]]:
        """The parameters that each stage was trained with, as far as they are known."""
        trained = self.training["trained"]
        return {stage: trained.get(stage, {}).get("settings", {}) for stage in self.training["tables"]}


def model_card(facts: CardFacts) -> str:
    """The card: base model, data with rows and licences, recipe, figures with 95% intervals, use, limits, origin."""
    figures = list(_figures(scores_by_query(facts.scores)))
    sections = [
        f"# {facts.name}",
        _introduction(facts),
        "## Results\n\n" + "\n".join(_results(facts, figures)),
        "## Use\n\n```python\n" + facts.text.usage.format(name=facts.name) + "\n```",
        *_prompts(facts),
        "## Training data\n\n" + "\n".join(_data(facts)),
        "## Recipe\n\n" + "\n".join(_recipe(facts)),
        f"{_ORIGIN}\n\n" + "\n".join(_made(facts.training)),
        "## Limits\n\n" + "\n".join(_limits(facts)),
    ]
    front = yaml.safe_dump(_front_matter(facts, figures), allow_unicode=True, sort_keys=False, width=120)
    return f"---\n{front}---\n\n" + "\n\n".join(sections) + "\n"


def without_origin(card: str) -> str:
    """The card without its section on the runs that made it."""
    return re.sub(rf"^{_ORIGIN}$.*?(?=^## |\Z)", "", card, flags=re.MULTILINE | re.DOTALL)


Figure = tuple[str, str, float, tuple[float, float] | None, int]  # task, metric, mean, interval, queries


def _figures(scores: Scores) -> Iterator[Figure]:
    """Each task's main metric with its bootstrap interval over the queries."""
    for task, metric in main_metrics(scores):
        values = list(scores[task, metric].values())
        queries = 0 if "" in scores[task, metric] else len(values)
        interval = bootstrap_interval(np.array(values)) if queries else None
        yield task, metric, fmean(values), interval, queries


def _front_matter(facts: CardFacts, figures: Sequence[Figure]) -> dict[str, Any]:
    results = [
        {
            "task": {"type": task_types()[facts.tests[task]["category"]].hub_task},
            "dataset": {"name": task, "type": task},
            "metrics": [{"type": metric, "value": round(mean, 6)}],
        }
        for task, metric, mean, _, _ in figures
    ]
    base = facts.base_model.get("name")
    return {
        "language": ["ja"],
        "license": facts.licence,
        "library_name": "sentence-transformers",
        "pipeline_tag": facts.text.pipeline_tag,
        "tags": list(facts.text.tags),
        **({"base_model": base} if base else {}),
        **({"model-index": [{"name": facts.name, "results": results}]} if results else {}),
    }


def _introduction(facts: CardFacts) -> str:
    what = facts.text.introduction.format(vectors=UNIT if facts.unit_vectors else NOT_UNIT)
    base = facts.base_model
    if base.get("name"):
        origin = f"`{base['name']}`" + (f" at revision `{base['revision']}`" if base.get("revision") else "")
    elif not base:
        origin = NO_RUN
    else:
        tiny = base.get("tiny", {})
        origin = f"a ModernBERT with random weights ({tiny.get('layers')} layers, {tiny.get('hidden_size')} wide)"
    return f"{what}\n\nBase model: {origin}, trained by the recipe of [Ruri](https://arxiv.org/abs/2409.07737)."


def _results(facts: CardFacts, figures: Sequence[Figure]) -> Iterator[str]:
    if not figures:
        yield "Nothing was tested: the recipe has no task for this model."
        return
    yield from table_head("task", "category", "metric", "mean", "95% interval", "queries")
    for task, metric, mean, interval, queries in figures:
        shown = f"{interval[0]:.4f} to {interval[1]:.4f}" if interval else "-"
        yield table_row(task, facts.tests[task]["category"], metric, f"{mean:.4f}", shown, queries or "-")
    yield "\nThe interval is a bootstrap over the queries; a metric of a whole task has none."


def _prompts(facts: CardFacts) -> Iterator[str]:
    if facts.text.prompts:
        lines = [*table_head("prompt name", "text in front"), *(table_row(*item) for item in _code(facts.prompts))]
        yield "Texts need the prompts that the model was trained with:\n\n" + "\n".join(lines)


def _code(prompts: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    return ((name, f"`{text}`") for name, text in prompts.items())


def _data(facts: CardFacts) -> Iterator[str]:
    yield from table_head("source", "licence", "origin", "pairs", "examples by stage")
    for name, row in facts.sources.items():
        stages = ", ".join(f"{stage} {count:,}" for stage, count in row["examples"].items())
        yield table_row(name, row["licence"], row["origin"], f"{row['pairs']:,}", stages or "negatives only")
    leaked = sum(row["leaked"] for row in facts.contamination["stages"].values())
    removed = sum(row["removed"] for row in facts.contamination["sources"].values())
    tests = ", ".join(facts.contamination["tests"])
    found = f"{removed:,} pairs that a test knows were left out, {leaked:,} examples have a text of a test"
    yield f"\nSearched for the tests {tests}: {found}." if tests else "\nSearched for no test: the recipe has none."
    if changed := changed_stages(facts.training):
        yield f"\nThe examples of {', '.join(changed)} were made anew after the training: these are the new ones."


def _recipe(facts: CardFacts) -> Iterator[str]:
    known = {stage: settings for stage, settings in facts.stages.items() if settings}
    if known:
        yield from table_head("parameter", *known)
    for name in _SETTINGS:
        values = [settings.get(name) for settings in known.values()]
        if any(value is not None for value in values):
            yield table_row(name, *("-" if value is None else value for value in values))
    untrained = untrained_stages(facts.training)
    if untrained:
        yield f"\nNothing was trained in {', '.join(untrained)}: {UNTRAINED}."
    if unknown := [stage for stage in facts.stages if stage not in known and stage not in untrained]:
        yield f"\nParameters of {', '.join(unknown)}: {NO_RUN}."


def _made(training: Mapping[str, Any]) -> Iterator[str]:
    """The run of each stage, that of the evaluation, the packages of the last training, the data of all."""
    left_out = untrained_stages(training)
    trained = {stage: training["trained"].get(stage, {}) for stage in training["tables"] if stage not in left_out}
    for run in {run.get("run_id"): run for run in trained.values()}.values():
        stages = ", ".join(stage for stage, other in trained.items() if other.get("run_id") == run.get("run_id"))
        yield f"- Trained ({stages}): {_run_text(run)}"
    yield f"- Evaluated: {_run_text(training['made'])}"
    last = next(reversed(trained.values()), {})
    versions = {key.removeprefix("version."): value for key, value in last.items() if key.startswith("version.")}
    if versions:
        yield "- Packages: " + ", ".join(f"{name} {version}" for name, version in sorted(versions.items()))
    for key, value in sorted(training["data"].items()):
        if key.startswith("dvc."):
            yield f"- Data: `{key.removeprefix('dvc.')}` at `{value}` (DVC)"


def _run_text(run: Mapping[str, str]) -> str:
    if not run:
        return NO_RUN
    return f"`{run.get('reproduce', '?')}`, commit {commit_text(run)}, MLflow run `{run['run_id']}`"


def _limits(facts: CardFacts) -> Iterator[str]:
    # The reranker that taught an embedder read other lengths, and so did the encoder that a reranker was made from.
    kind = kind_called(facts.kind)
    own = [settings for name, settings in facts.stages.items() if kind in kinds_of(STAGES[name].kind)]
    lengths = [_longest(stage["max_length"]) for stage in own if "max_length" in stage]
    yield "- Japanese only; other languages were not tested."
    if lengths:
        yield f"- Trained on texts of up to {max(lengths)} tokens; longer ones are cut or were not seen in training."
    what = "The figures are of the tests above, and say nothing of other domains." if facts.tests else "Not tested."
    yield f"- {what} Test on your own data first."
    synthetic = [name for name, row in facts.sources.items() if row["origin"] == "synthetic"]
    if synthetic:
        yield f"- Texts of {', '.join(synthetic)} were written by a language model."
    if facts.limits:
        yield f"- {facts.limits}"


def _longest(max_length: int | Mapping[str, int]) -> int:
    """Tokens of the longest texts of a stage, which may have one length for anchors and one for everything else."""
    return max(max_length.values()) if isinstance(max_length, Mapping) else max_length


def table_head(*names: str) -> Iterator[str]:
    yield table_row(*names)
    yield table_row(*("---" for _ in names))


def table_row(*cells: Any) -> str:
    return "| " + " | ".join(str(cell).replace("|", "\\|").replace("\n", " ") for cell in cells) + " |"
