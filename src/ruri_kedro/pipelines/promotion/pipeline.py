"""Wiring of promotion, which is not part of the default run: it changes what others use."""

from kedro.pipeline import Node, Pipeline

from ruri_kedro.pipelines.promotion import nodes


def create_pipeline(**kwargs) -> Pipeline:
    """The registry -> an alias moved, or the reasons why not."""
    return Pipeline(
        [
            Node(func=nodes.judge_challenger, inputs="params:promotion", outputs="decision", name="judge_challenger"),
            Node(
                func=nodes.promote,
                inputs="decision",
                outputs=["promotion_decision", "promotion_report"],
                name="promote",
            ),
            Node(
                func=nodes.report_champions,
                inputs=["promotion_decision", "params:promotion"],
                outputs=["champions_plot", "champions_report"],
                name="champions",
            ),
        ]
    )
