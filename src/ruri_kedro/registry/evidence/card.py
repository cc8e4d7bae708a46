"""The model card, in the form that the Hugging Face hub reads: YAML in front, Markdown after it."""

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import yaml

from ruri_kedro.benchmark.comparing.intervals import Figure, figures
from ruri_kedro.benchmark.tasks.types import task_types
from ruri_kedro.models.kinds import kind_called, kinds_of
from ruri_kedro.models.packaged import PACKAGES, described
from ruri_kedro.recipe.addresses import resolve
from ruri_kedro.recipe.stages import STAGES
from ruri_kedro.registry.evidence.card_texts import NOT_UNIT, UNIT, CardText
from ruri_kedro.registry.evidence.evidence import Evidence
from ruri_kedro.registry.runs.training_runs import NO_RUN, UNTRAINED, changed_stages, commit_text, untrained_stages
from ruri_kedro.text.layout import markdown_table

# Of the parameters of a stage those that stand in the card.
_SETTINGS = ("max_length", "batch_size", "epochs", "learning_rate", "warmup_ratio", "warmup_steps", "weight_decay",
             "temperature", "matryoshka_dims", "precision")  # fmt: skip

_ORIGIN = "## How it was made"  # the only section that tells one run from another that did the same


def model_card(
    evidence: Evidence, name: str, licence: str, limits: str, prompts: Mapping[str, str], unit_vectors: bool = True,
    library: str | None = None,
) -> str:  # fmt: skip
    """The card: base model, data with rows and licences, recipe, figures with 95% intervals, use, limits, origin.

    `name` is that of the registered model, `prompts` are the model's, `unit_vectors` whether an embedder's vectors have
    length 1, `library` the version of sentence-transformers that wrote it, if that is known.
    """
    words: CardText = resolve(kind_called(evidence.kind).card)
    found = figures(evidence.scores)
    stages = _settings_of(evidence.training)
    sections = [
        f"# {name}",
        _introduction(words, evidence.training["base_model"], unit_vectors),
        "## Results\n\n" + "\n".join(_results(evidence, found)),
        "## Use\n\n```python\n" + words.usage.format(name=name) + "\n```" + _needs(library),
        *([_prompts(prompts)] if words.prompts else []),
        "## Training data\n\n" + "\n".join(_data(evidence)),
        "## Recipe\n\n" + "\n".join(_recipe(evidence.training, stages)),
        f"{_ORIGIN}\n\n" + "\n".join(_made(evidence.training)),
        "## Limits\n\n" + "\n".join(_limits(evidence, stages, limits)),
    ]
    facts = _front_matter(evidence, words, name, licence, found)
    front = yaml.safe_dump(facts, allow_unicode=True, sort_keys=False, width=120)
    return f"---\n{front}---\n\n" + "\n\n".join(sections) + "\n"


def without_origin(card: str) -> str:
    """The card without its section on the runs that made it."""
    return re.sub(rf"^{_ORIGIN}$.*?(?=^## |\Z)", "", card, flags=re.MULTILINE | re.DOTALL)


def _settings_of(training: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    """The parameters that each stage was trained with, as far as they are known."""
    return {stage: training["trained"].get(stage, {}).get("settings", {}) for stage in training["tables"]}


def _front_matter(
    evidence: Evidence, words: CardText, name: str, licence: str, found: Sequence[Figure]
) -> dict[str, Any]:
    results = [
        {
            "task": {"type": task_types()[evidence.tests[task]["category"]].hub_task},
            "dataset": {"name": task, "type": task},
            "metrics": [{"type": metric, "value": round(mean, 6)}],
        }
        for task, metric, mean, _, _ in found
    ]
    base, package = (evidence.training["base_model"].get(key) for key in ("name", "package"))
    base = PACKAGES[package].model if package else base
    return {
        "language": ["ja"],
        "license": licence,
        "library_name": "sentence-transformers",
        "pipeline_tag": words.pipeline_tag,
        "tags": list(words.tags),
        **({"base_model": base} if base else {}),
        **({"model-index": [{"name": name, "results": results}]} if results else {}),
    }


def _introduction(words: CardText, base: Mapping[str, Any], unit_vectors: bool) -> str:
    what = words.introduction.format(vectors=UNIT if unit_vectors else NOT_UNIT)
    if base.get("name"):
        origin = f"`{base['name']}`" + (f" at revision `{base['revision']}`" if base.get("revision") else "")
    elif base.get("package"):
        origin = described(base["package"])
    elif not base:
        origin = NO_RUN
    else:
        tiny = base.get("tiny", {})
        origin = f"a ModernBERT with random weights ({tiny.get('layers')} layers, {tiny.get('hidden_size')} wide)"
    return f"{what}\n\nBase model: {origin}, trained by the recipe of [Ruri](https://arxiv.org/abs/2409.07737)."


def _results(evidence: Evidence, found: Sequence[Figure]) -> Iterator[str]:
    if not found:
        yield "Nothing was tested: the recipe has no task for this model."
        return
    rows = []
    for task, metric, mean, interval, items in found:
        shown = f"{interval[0]:.4f} to {interval[1]:.4f}" if interval else "-"
        rows.append((task, evidence.tests[task]["category"], metric, f"{mean:.4f}", shown, items or "-"))
    yield markdown_table(("task", "category", "metric", "mean", "95% interval", "items"), rows)
    yield "\nThe interval is a bootstrap over the queries, texts or pairs of a task; a metric of a whole task has none."


def _needs(library: str | None) -> str:
    """Which version of sentence-transformers reads the folder: one of the same first two numbers, or newer."""
    if library is None:
        return ""
    least = ".".join(library.split(".")[:2])
    install = f"pip install 'sentence-transformers>={least}'"
    return f"\n\nWritten by sentence-transformers {library}: it needs {least} or newer (`{install}`)."


def _prompts(prompts: Mapping[str, str]) -> str:
    table = markdown_table(("prompt name", "text in front"), ((name, f"`{text}`") for name, text in prompts.items()))
    return f"Texts need the prompts that the model was trained with:\n\n{table}"


def _data(evidence: Evidence) -> Iterator[str]:
    rows = []
    for name, row in evidence.training["sources"].items():
        stages = ", ".join(f"{stage} {count:,}" for stage, count in row["examples"].items())
        rows.append((name, row["licence"], row["origin"], f"{row['pairs']:,}", stages or "negatives only"))
    yield markdown_table(("source", "licence", "origin", "pairs", "examples by stage"), rows)
    leaked = sum(row["leaked"] for row in evidence.contamination["stages"].values())
    removed = sum(row["removed"] for row in evidence.contamination["sources"].values())
    tests = ", ".join(evidence.contamination["tests"])
    found = f"{removed:,} pairs that a test knows were left out, {leaked:,} examples have a text of a test"
    yield f"\nSearched for the tests {tests}: {found}." if tests else "\nSearched for no test: the recipe has none."
    if changed := changed_stages(evidence.training):
        yield f"\nThe examples of {', '.join(changed)} were made anew after the training: these are the new ones."


def _recipe(training: Mapping[str, Any], stages: Mapping[str, Mapping[str, Any]]) -> Iterator[str]:
    known = {stage: settings for stage, settings in stages.items() if settings}
    values = {name: [settings.get(name) for settings in known.values()] for name in _SETTINGS}
    rows = [
        (name, *("-" if value is None else value for value in row))
        for name, row in values.items()
        if any(value is not None for value in row)
    ]
    if known:
        yield markdown_table(("parameter", *known), rows)
    untrained = untrained_stages(training)
    if untrained:
        yield f"\nNothing was trained in {', '.join(untrained)}: {UNTRAINED}."
    if unknown := [stage for stage in stages if stage not in known and stage not in untrained]:
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


def _limits(evidence: Evidence, stages: Mapping[str, Mapping[str, Any]], limits: str) -> Iterator[str]:
    # The reranker that taught an embedder read other lengths, and so did the encoder that a reranker was made from.
    kind = kind_called(evidence.kind)
    own = [settings for name, settings in stages.items() if kind in kinds_of(STAGES[name].kind)]
    lengths = [_longest(stage["max_length"]) for stage in own if "max_length" in stage]
    yield "- Japanese only; other languages were not tested."
    if lengths:
        yield f"- Trained on texts of up to {max(lengths)} tokens; longer ones are cut or were not seen in training."
    what = "The figures are of the tests above, and say nothing of other domains." if evidence.tests else "Not tested."
    yield f"- {what} Test on your own data first."
    synthetic = [name for name, row in evidence.training["sources"].items() if row["origin"] == "synthetic"]
    if synthetic:
        yield f"- Texts of {', '.join(synthetic)} were written by a language model."
    if limits:
        yield f"- {limits}"


def _longest(max_length: int | Mapping[str, int]) -> int:
    """Tokens of the longest texts of a stage, which may have one length for anchors and one for everything else."""
    return max(max_length.values()) if isinstance(max_length, Mapping) else max_length
