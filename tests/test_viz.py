"""Kedro-Viz shows the whole recipe as a box for each pipeline."""

from kedro.io import DataCatalog
from kedro_viz.data_access.managers import DataAccessManager

from ruri_kedro.pipeline_registry import register_pipelines


def test_each_pipeline_is_a_box_that_unfolds():
    made = register_pipelines()
    whole = {"__default__": made["__default__"]}
    manager = DataAccessManager()
    manager.add_catalog(DataCatalog(), whole)
    manager.add_pipelines(whole)
    tree = manager.create_modular_pipelines_tree_for_registered_pipeline("__default__")
    boxes = {name: {child.id for child in box.children} for name, box in tree.items()}
    top = boxes.pop("__root__")
    assert boxes.keys() == {"data_engineering", "mining_pretraining", "adaptation", "pretraining", "mining_supervised",
                            "reranking", "finetuning", "evaluation"}  # fmt: skip
    tasks = {node.id: node.full_name for node in manager.nodes.as_list() if node.type == "task"}
    assert boxes.keys() <= top and not top & tasks.keys(), "no node is outside a box"
    for name, children in boxes.items():
        assert {tasks[child] for child in children & tasks.keys()} == {node.name for node in made[name].nodes}
