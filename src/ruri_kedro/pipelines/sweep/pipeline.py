"""Wiring of the sweep, which is not part of the default run: it trains many models."""

from kedro.pipeline import Node, Pipeline

from ruri_kedro.pipelines.sweep import nodes


def create_pipeline(**kwargs) -> Pipeline:
    """raw -> the figures of every cell and seed -> the best cells, tables and a page.

    Passages, examples and base models are made as steps of the cells, since they may differ by cell.
    """
    return Pipeline(
        [
            Node(
                func=nodes.run_sweep,
                inputs=["raw", "recipe_parameters", "recipe_variants", "recipe_entries"],
                outputs="sweep_runs",
                name="run_sweep",
            ),
            Node(
                func=nodes.report_sweep,
                inputs=["sweep_runs", "recipe_parameters"],
                outputs=["sweep_table", "sweep_best", "sweep_maps", "sweep_report"],
                name="report_sweep",
            ),
        ]
    )
