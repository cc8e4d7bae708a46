"""Tiny models in a registry, with dossiers that are made up."""

from pathlib import Path

from judged import TESTS, parameters, rules
from judged import scores as made_scores

from ruri_kedro.registry.evidence.evidence import Dossier
from ruri_kedro.registry.versions import models

NAME = "ruri-tiny"
PROMOTION = parameters(
    probe=parameters()["probe"] | {"queries": ["東京の駅はいつ建てたか。"]},
    latency_ms={"embedder": 60_000, "reranker": 60_000},
)
OTHER_WORDS = "---\nlanguage: ja\n---\n\n# tiny, as good as the other\n"
CARD = "---\nlanguage: ja\n---\n\n# tiny\n"


def rows(level: float = 0.5, sts: float = 0.7) -> list[dict]:
    """Rows of SCORES."""
    return [
        {"model": "finetuned", "task": task, "metric": metric, "query_id": qid, "score": score}
        for (task, metric), queries in made_scores(level, sts).items()
        for qid, score in queries.items()
    ]


def dossier(
    level: float = 0.5, sts: float = 0.7, licence: str = "Apache-2.0", leaked: int = 0, card: str = CARD
) -> Dossier:
    """A dossier that passes, on whose scores the level decides."""
    return Dossier(
        scores=rows(level, sts),
        tests=TESTS,
        training={"sources": {"news": {"licence": licence}}, "data": {"pairs": "aaa", "git_commit": "c0ffee"}},
        contamination={"tests": list(TESTS), "stages": {"pretraining": {"examples": 100, "leaked": leaked}}},
        probe=rules(probe=PROMOTION["probe"]).probe_pairs,
        card=card,
        baselines=[row | {"model": "bm25"} for row in rows(level - 0.05, sts)],
    )


def register(folder: Path, given: Dossier | None = None, name: str = NAME) -> int:
    """Register the encoder in `folder` in a run of its own; gives the version's number."""
    import mlflow

    with mlflow.start_run():
        return models.register_embedder(folder, name, {"questions/ndcg@10": 0.5}, dossier=given or dossier())


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
