"""Registration of the models that were evaluated, with the evidence by which they can be promoted."""

from pathlib import Path

from ruri_kedro.corpora.source import parse_sources
from ruri_kedro.pipelines.shared import Params
from ruri_kedro.tables import Table

_SETTINGS = ("max_length", "batch_size", "epochs", "learning_rate", "warmup_ratio", "weight_decay", "temperature",
             "matryoshka_dims", "precision")  # fmt: skip


def describe_training(
    pairs: Table, leaks: Table, test_texts: Table, sources: Params, **examples: Table
) -> tuple[Params, Params]:
    """What the models were trained on, by source and stage, and what the tests know of it; `examples` by stage."""
    from ruri_kedro.registry.tracking import active_run_tags
    from ruri_kedro.registry.training_data import contamination_report, stage_tables, training_sources

    made = active_run_tags()
    versions = {key: value for key, value in made.items() if key.startswith("dvc.") or key == "git_commit"}
    training = {
        "sources": training_sources(parse_sources(sources), pairs, examples),
        "tables": stage_tables(examples),
        "data": {"pairs": pairs.digest(), "test_texts": test_texts.digest(), **versions},
        "made": made,
    }
    return training, contamination_report(leaks, test_texts.parts(), examples)


def compile_dossiers(
    recipe: str,
    promotion: Params,
    tasks: Params,
    prompts: Params,
    base_model: Params,
    pretraining: Params,
    reranking: Params,
    finetuning: Params,
    test_texts: Table,
    training: Params,
    contamination: Params,
    scores_finetuned: Table,
    scores_reranker: Table,
) -> tuple[Params, str, str]:
    """The dossiers of embedder and reranker, and the card of each."""
    from ruri_kedro.registry.card import CardFacts, model_card
    from ruri_kedro.registry.evidence import Dossier
    from ruri_kedro.registry.rules import parse_rules
    from ruri_kedro.registry.training_data import STAGES, described_tests, of_kind, training_of_kind

    training = {**training, "base_model": base_model, "teacher": finetuning["teacher"]}
    probe = parse_rules(promotion).probe_pairs
    stages = {"pretraining": pretraining, "reranking_stage1": reranking["stage1"],
              "reranking_stage2": reranking["stage2"], "finetuning": finetuning}  # fmt: skip
    dossiers = {}
    for kind, table in (("embedder", scores_finetuned), ("reranker", scores_reranker)):
        rows = list(table.iter_rows())
        tests = described_tests(tasks, test_texts, list(dict.fromkeys(row["task"] for row in rows)))
        trained = training_of_kind(training, kind)
        report = of_kind(contamination, kind)
        own = {stage: {key: settings[key] for key in _SETTINGS if settings.get(key) is not None}
               for stage, settings in stages.items() if stage in STAGES[kind]}  # fmt: skip
        card = model_card(
            CardFacts(kind, names(recipe)[kind], base_model, prompts, own, trained["sources"], report, rows,
                      tests, training["made"], promotion["card"]["licence"], promotion["card"]["limits"])
        )  # fmt: skip
        dossiers[kind] = Dossier(rows, tests, trained, report, probe, card)
    return dossiers, dossiers["embedder"].card, dossiers["reranker"].card


def register(embedder: Path, reranker: Path, metrics: dict, recipe: str, dossiers: Params) -> dict:
    """Register both models as challengers, with their test metrics and their dossiers."""
    from ruri_kedro.registry.models import register_embedder, register_reranker

    named = names(recipe)
    versions = {
        "embedder": register_embedder(embedder, named["embedder"], metrics["finetuned"], dossier=dossiers["embedder"]),
        "reranker": register_reranker(reranker, named["reranker"], metrics["reranker"], dossier=dossiers["reranker"]),
    }
    return {kind: {"name": named[kind], "version": version} for kind, version in versions.items()}


def names(recipe: str) -> dict[str, str]:
    """The names of a recipe's registered models, by kind."""
    return {"embedder": f"ruri-{recipe}", "reranker": f"ruri-reranker-{recipe}"}
