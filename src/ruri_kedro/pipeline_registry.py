"""The pipelines of the project, in the order in which they feed each other."""

from importlib import import_module

from kedro.pipeline import Pipeline

PIPELINES = ("data_engineering", "negative_mining", "pretraining", "reranking", "finetuning", "evaluation")
APART = ("synthesis", "promotion", "ablations")  # run by name only


def register_pipelines() -> dict[str, Pipeline]:
    """All pipelines by name; `mining_pretraining` and `mining_supervised` are the halves of negative_mining."""
    made = {name: import_module(f"ruri_kedro.pipelines.{name}").create_pipeline() for name in (*PIPELINES, *APART)}
    for namespace in ("pretraining", "supervised"):
        made[f"mining_{namespace}"] = made["negative_mining"].only_nodes_with_namespaces([namespace])
    made["__default__"] = sum((made[name] for name in PIPELINES), start=Pipeline([]))
    return made
