"""Registration of the models that were evaluated, with the evidence by which they can be promoted."""

from pathlib import Path

from ruri_kedro.benchmark.matches import LeakRules
from ruri_kedro.corpora.source import parse_sources
from ruri_kedro.encoders.checkpoint import saved_with_unit_vectors
from ruri_kedro.encoders.reference import folder_digest
from ruri_kedro.errors import DataError
from ruri_kedro.pipelines.shared import Params
from ruri_kedro.project import EXAMPLES
from ruri_kedro.recipe.parse import parse
from ruri_kedro.tables import Table
from ruri_kedro.tables.files import read_json

_SCORES = {"embedder": "scores_finetuned", "reranker": "scores_reranker"}


def describe_training(
    passages: Table,
    pairs: Table,
    leaks: Table,
    test_texts: Table,
    embedder: Path,
    reranker: Path,
    sources: Params,
    rules: Params,
    **examples: Table,
) -> tuple[Params, Params]:
    """What the models were trained on and with, by stage, and what the tests know of it; `examples` by stage.

    `rules` are those by which a text counts as one of a test.

    `trained` is of each kind of model what MLflow's runs tell of its trainings, `made` of this run.
    """
    from ruri_kedro.registry.tracking import active_run_tags
    from ruri_kedro.registry.training_data import contamination_report, stage_tables, training_sources
    from ruri_kedro.registry.training_runs import trained_with

    made = active_run_tags()
    models = {"embedder": embedder, "reranker": reranker}
    trained = {
        kind: trained_with(kind, folder_digest(path), made.get("run_id"), EXAMPLES) for kind, path in models.items()
    }
    training = {
        "sources": training_sources(parse_sources(sources), pairs, examples),
        "tables": stage_tables(examples),
        "data": {"pairs": pairs.digest(), "test_texts": test_texts.digest()},
        "trained": trained,
        "made": made,
    }
    return training, contamination_report(leaks, test_texts, passages, examples, parse(LeakRules, rules, "leaks"))


def compile_dossiers(
    recipe: str,
    promotion: Params,
    tasks: Params,
    bm25: Params,
    evaluation: Params,
    embedder: Path,
    reranker: Path,
    test_sets: Path,
    training: Params,
    contamination: Params,
    scores_finetuned: Table,
    scores_reranker: Table,
    **baselines: Table,
) -> tuple[Params, str, str]:
    """The dossiers of embedder and reranker, and the card of each; `baselines` are the scores of other models.

    Raises DataError where the scores are of other models than these.
    """
    from ruri_kedro.registry.card import CardFacts, model_card
    from ruri_kedro.registry.evidence import Dossier
    from ruri_kedro.registry.rules import is_searched, parse_rules
    from ruri_kedro.registry.training_data import described_tests, of_kind, training_of_kind

    probe = parse_rules(promotion).probe_pairs
    prompts = read_json(embedder / "config_sentence_transformers.json")["prompts"]
    candidates = {"bm25": bm25, "depth": evaluation["depth"]}
    dossiers = {}
    for kind, path, table in (("embedder", embedder, scores_finetuned), ("reranker", reranker, scores_reranker)):
        check_scored(kind, path, table, training["made"].get("run_id"))
        rows = list(table.iter_rows())
        tests = described_tests(tasks, test_sets, list(dict.fromkeys(row["task"] for row in rows)), candidates)
        trained = training_of_kind(training, kind)
        report = of_kind(contamination, kind)
        card = model_card(
            CardFacts(kind, names(recipe)[kind], prompts, trained, report, rows, tests, promotion["card"]["licence"],
                      promotion["card"]["limits"], saved_with_unit_vectors(path))
        )  # fmt: skip
        beside = [row for other in baselines.values() for row in other.iter_rows() if is_searched(tests, row["task"])]
        dossiers[kind] = Dossier(rows, tests, trained, report, probe, card, beside)
    return dossiers, dossiers["embedder"].card, dossiers["reranker"].card


def check_scored(kind: str, model: Path, scores: Table, run_id: str | None) -> None:
    """Raise DataError where MLflow knows that the scores were made of another model: only a part of a run was run."""
    from ruri_kedro.registry.training_runs import scored_model

    scored = scored_model(_SCORES[kind], scores.digest(), kind, run_id)
    if scored not in (None, folder_digest(model)):
        raise DataError(
            f"{_SCORES[kind]}: made of another {kind} than there is now. Run: kedro run --pipelines evaluation"
        )


def register(embedder: Path, reranker: Path, metrics: dict, recipe: str, dossiers: Params) -> dict:
    """Register both models as challengers, with their dossiers and, where they were tested, their test metrics."""
    from ruri_kedro.registry.models import register_embedder, register_reranker

    named = names(recipe)
    versions = {
        kind: log(path, named[kind], metrics.get(scored, {}), dossier=dossiers[kind])
        for kind, path, scored, log in (
            ("embedder", embedder, "finetuned", register_embedder),
            ("reranker", reranker, "reranker", register_reranker),
        )
    }
    return {kind: {"name": named[kind], "version": version} for kind, version in versions.items()}


def names(recipe: str) -> dict[str, str]:
    """The names of a recipe's registered models, by kind."""
    return {"embedder": f"ruri-{recipe}", "reranker": f"ruri-reranker-{recipe}"}
