"""The pipelines of the project, in the order in which they feed each other."""

from importlib import import_module

from kedro.pipeline import Pipeline

from ruri_kedro.recipe.stages import MINING, STAGES

_HOME = "ruri_kedro.pipelines"
APART = ("synthesis", "promotion", "ablations", "sweep")  # run by name only


def register_pipelines() -> dict[str, Pipeline]:
    """All pipelines by name; `mining_pretraining` and `mining_supervised` are the halves of negative_mining."""
    trainings = {stage.pipeline_name: stage.pipeline for stage in STAGES.values()}
    own = {name: f"{_HOME}.{name}" for name in ("data_engineering", "negative_mining", "evaluation", *APART)}
    made = {name: named(name, import_module(address).create_pipeline()) for name, address in (own | trainings).items()}
    whole = [pipeline for name, pipeline in made.items() if name not in APART]
    for half in (f"mining_{mining}" for mining in MINING):
        made[half] = made["negative_mining"].only_nodes_with_namespaces([half])
    made["__default__"] = sum(whole, start=Pipeline([]))
    return made


def named(name: str, pipeline: Pipeline) -> Pipeline:
    """A pipeline whose nodes have its name in front, if they have none yet: Kedro-Viz shows them as a box."""
    unnamed = Pipeline([node for node in pipeline.nodes if not node.namespace])
    return pipeline - unnamed + Pipeline(unnamed, namespace=name, prefix_datasets_with_namespace=False)
