"""Tiny models in a registry, with evidence that is made up."""

from dataclasses import replace
from pathlib import Path

from judged import TESTS, parameters, rules, scores

from ruri_kedro.models.kinds import registered_words
from ruri_kedro.registry.evidence.evidence import Evidence
from ruri_kedro.registry.versions import models

NAME = "ruri-tiny"
PROMOTION = parameters(
    probe=parameters()["probe"] | {"queries": ["東京の駅はいつ建てたか。"]},
    latency_ms=dict.fromkeys(registered_words(), 60_000),
)
OTHER_WORDS = "---\nlanguage: ja\n---\n\n# tiny, as good as the other\n"
CARD = "---\nlanguage: ja\n---\n\n# tiny\n"


def evidence(
    level: float = 0.5, sts: float = 0.7, licence: str = "Apache-2.0", leaked: int = 0, card: str = CARD
) -> Evidence:
    """Evidence that passes, on whose scores the level decides."""
    return Evidence(
        kind="embedder",
        scores=scores(level, sts),
        tests=TESTS,
        training={"sources": {"news": {"licence": licence}}, "data": {"pairs": "aaa", "git_commit": "c0ffee"}},
        contamination={"tests": list(TESTS), "stages": {"pretraining": {"examples": 100, "leaked": leaked}}},
        probe=[{"query": q, "passage": p} for q, p in rules(probe=PROMOTION["probe"]).probe_pairs],
        card=card,
        baselines={"bm25": scores(level - 0.05, sts)},
    )


def evidence_of_reranker() -> Evidence:
    """The same of a model that orders candidates in every test."""
    return replace(evidence(), tests={name: {"category": "reranking", "digest": name} for name in TESTS})


def register(folder: Path, given: Evidence | None = None, name: str = NAME) -> int:
    """Register the encoder in `folder` in a run of its own; gives the version's number."""
    import mlflow

    with mlflow.start_run():
        return models.register_embedder(folder, name, {"questions/ndcg@10": 0.5}, given or evidence())


def register_unsigned(folder: Path, name: str) -> None:
    """Register the encoder in `folder` by MLflow alone, without manifest and evidence, as a challenger."""
    import mlflow
    from sentence_transformers import SentenceTransformer

    model = SentenceTransformer(str(folder), device="cpu")
    with mlflow.start_run():
        mlflow.sentence_transformers.log_model(
            model, name="embedder", registered_model_name=name, pip_requirements=models.requirements()
        )
    mlflow.MlflowClient().set_registered_model_alias(
        name, "challenger", mlflow.MlflowClient().get_registered_model(name).latest_versions[0].version
    )


def aliases(name: str = NAME) -> dict[str, int]:
    """Number by alias."""
    import mlflow

    found = mlflow.MlflowClient().get_registered_model(name).aliases
    return {alias: int(number) for alias, number in found.items()}


def tags(number: int, name: str = NAME) -> dict[str, str]:
    import mlflow

    return mlflow.MlflowClient().get_model_version(name, str(number)).tags


def stored(number: int, store: Path, name: str = NAME) -> Path:
    """The folder in which the local store keeps the files of a version."""
    import mlflow

    source = mlflow.MlflowClient().get_model_version(name, str(number)).source
    (found,) = store.glob(f"mlruns/models/{source.removeprefix('models:/')}/artifacts")
    return found
