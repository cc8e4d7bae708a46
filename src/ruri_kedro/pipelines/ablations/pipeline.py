"""Wiring of the ablations, which are not part of the default run: they train many models."""

from kedro.pipeline import Node, Pipeline

from ruri_kedro.pipelines import data_engineering
from ruri_kedro.pipelines.ablations import nodes


def create_pipeline(**kwargs) -> Pipeline:
    """raw -> passages, pairs -> the scores of every cell and seed -> tables and plot."""
    made_first = Pipeline(
        data_engineering.create_pipeline(), namespace="data_engineering", prefix_datasets_with_namespace=False
    )
    return made_first + Pipeline(
        [
            Node(
                func=nodes.run_cells,
                inputs={
                    "recipe": "recipe_parameters",
                    "entries": "recipe_entries",
                    **{name: name for name in nodes.RECIPE_DATA},
                },
                outputs=["ablation_scores", "ablation_tests"],
                name="run_cells",
            ),
            Node(
                func=nodes.report_cells,
                inputs=["ablation_scores", "ablation_tests", "recipe_parameters"],
                outputs=["ablation_table", "ablation_plot", "ablation_report"],
                name="report_cells",
            ),
        ]
    )
