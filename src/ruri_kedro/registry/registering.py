"""Registration of the models that were evaluated, with the evidence by which they can be promoted."""

import logging
from dataclasses import replace
from pathlib import Path
from typing import Any

from ruri_kedro.benchmark.leaks.matches import LeakRules
from ruri_kedro.corpora.source import parse_sources
from ruri_kedro.errors import DataError
from ruri_kedro.models.checkpoint import saved_with_unit_vectors
from ruri_kedro.models.kinds import kind_in, kinds_of, saved_kind
from ruri_kedro.models.reference import folder_digest
from ruri_kedro.recipe.addresses import resolve
from ruri_kedro.recipe.annotations import Params
from ruri_kedro.recipe.parse import parse
from ruri_kedro.recipe.stages import (
    STAGES,
    Stage,
    evaluated_models,
    example_tables,
    registered_models,
    registered_names,
)
from ruri_kedro.tables import Table
from ruri_kedro.tables.files import read_json

logger = logging.getLogger(__name__)


def describe_training(
    passages: Table, pairs: Table, leaks: Table, test_texts: Table, sources: Params, rules: Params, **given: Any
) -> tuple[Params, Params]:
    """What the models were trained on and with, by stage, and what the tests know of it.

    `rules` are those by which a text counts as one of a test; `given` are the folders of the registered models and the
    tables of examples of the stages, by their names. `trained` is of each model what MLflow's runs tell of its
    trainings, `made` of this run.
    """
    from ruri_kedro.registry.evidence.training_data import contamination_report, stage_tables, training_sources
    from ruri_kedro.registry.runs.tracking import active_run_tags
    from ruri_kedro.registry.runs.training_runs import trained_with

    made, tables = active_run_tags(), example_tables()
    examples = {stage: given[stage] for stage in STAGES if stage in given}
    trained = {
        model: trained_with(model, str(folder_digest(given[model])), made.get("run_id"), tables)
        for model in registered_models()
    }
    training = {
        "sources": training_sources(parse_sources(sources), pairs, examples),
        "tables": stage_tables(examples),
        "data": {"pairs": pairs.digest(), "test_texts": test_texts.digest()},
        "trained": trained,
        "made": made,
    }
    return training, contamination_report(leaks, test_texts, passages, examples, parse(LeakRules, rules, "leaks"))


def compile_evidence(
    recipe: str,
    promotion: Params,
    tasks: Params,
    bm25: Params,
    evaluation: Params,
    test_sets: Path,
    training: Params,
    contamination: Params,
    equal: Params | None = None,
    **given: Any,
) -> tuple[Params | str, ...]:
    """The evidence of the registered models by their names in the catalog, and the card of each.

    `given` are the folders of the models and the tables `scores_<name>`; a model that is `equal` to another one has its
    scores. A model that no stage of its kind has trained has none, and its card says so. Raises DataError where
    the scores are of other models than these.
    """
    from ruri_kedro.benchmark.comparing.comparison import scores_by_query
    from ruri_kedro.registry.evidence.card import model_card
    from ruri_kedro.registry.evidence.evidence import Evidence
    from ruri_kedro.registry.evidence.training_data import described_tests, of_kind, training_of_kind
    from ruri_kedro.registry.promotion.rules import baselines, is_searched, parse_rules

    rules, names = parse_rules(promotion), registered_names(recipe)
    candidates = {"bm25": bm25, "depth": evaluation["depth"]}
    compiled, cards = {}, []
    for model, stage in registered_models().items():
        # Models that no stage has trained have a card that says so, and nothing else.
        path = given[model]
        if not _is_of(stage, path):
            cards.append(_not_trained(stage))
            continue
        check_scored(stage, path, given, training["made"].get("run_id"), equal or {})
        # Scores of the model and of those it is compared with, and what they are scores of.
        rows = _rows(str(stage.evaluated_as), given, equal or {})
        tests = described_tests(tasks, test_sets, list(dict.fromkeys(row["task"] for row in rows)), candidates)
        others = {name: _rows(name, given, equal or {}) for name in baselines()}
        evidence = Evidence(
            kind=kind_in(path, stage.kind).word,
            scores=scores_by_query(rows),
            baselines={
                name: scores_by_query(row for row in found if is_searched(tests, row["task"]))
                for name, found in others.items()
            },
            tests=tests,
            training=training_of_kind(training, model),
            contamination=of_kind(contamination, model),
            probe=[{"query": query, "passage": passage} for query, passage in rules.probe_pairs],
        )
        # The card says what the evidence holds, and is a part of it.
        own = _prompts(path), saved_with_unit_vectors(path), _library(path)
        card = model_card(evidence, names[model], rules.card.licence, rules.card.limits, *own)
        compiled[model] = replace(evidence, card=card)
        cards.append(card)
    return compiled, *cards


def check_scored(stage: Stage, model: Path, given: Params, run_id: str | None, equal: Params) -> None:
    """Raise DataError where MLflow knows that the scores were made of another model: only a part of a run was run."""
    from ruri_kedro.registry.runs.training_runs import scored_model

    name = equal.get(stage.evaluated_as, stage.evaluated_as)
    table = f"scores_{name}"
    scored = scored_model(table, given[table].digest(), evaluated_models()[name], run_id)
    if scored not in (None, folder_digest(model)):
        raise DataError(
            f"{table}: made of another {stage.model} than there is now. Run: kedro run --pipelines evaluation"
        )


def register(metrics: dict, recipe: str, evidence: Params, equal: Params | None = None, **models: Path) -> dict:
    """Register the models that have evidence as challengers, with it and, where they were tested, their test metrics.

    `models` are folders by name in the catalog.
    """
    names, versions = registered_names(recipe), {}
    for model, stage in registered_models().items():
        if model not in evidence:
            logger.info("%s", _not_trained(stage).strip())
            continue
        scored = metrics.get((equal or {}).get(stage.evaluated_as, stage.evaluated_as), {})
        kind = kind_in(models[model], stage.kind)
        number = resolve(kind.register)(models[model], names[model], scored, evidence[model])
        versions[model] = {"name": names[model], "version": number}
    return versions


def _rows(name: str, given: Params, equal: Params) -> list[dict]:
    """Scores of a model, under its own name, from the table of the model that it is equal to."""
    return [row | {"model": name} for row in given[f"scores_{equal.get(name, name)}"].iter_rows()]


def _prompts(model: Path) -> Params:
    return _library_config(model).get("prompts") or {}


def _library(model: Path) -> str | None:
    """The version of sentence-transformers that wrote the folder."""
    return (_library_config(model).get("__version__") or {}).get("sentence_transformers")


def _library_config(model: Path) -> Params:
    path = model / "config_sentence_transformers.json"
    return read_json(path) if path.is_file() else {}


def _is_of(stage: Stage, model: Path) -> bool:
    """Whether a model is of the kind that its stage makes, and none of another kind that was handed on."""
    return saved_kind(model) in (None, *kinds_of(stage.kind))


def _not_trained(stage: Stage) -> str:
    return f"The recipe trains no {stage.model}, so none is registered: no source takes part in its stages.\n"
