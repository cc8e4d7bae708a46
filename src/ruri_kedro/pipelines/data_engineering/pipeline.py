"""Wiring of data_engineering."""

from kedro.pipeline import Node, Pipeline

from ruri_kedro.pipelines.data_engineering import nodes


def create_pipeline(**kwargs) -> Pipeline:
    """raw -> passages, pairs, leaks, profile."""
    return Pipeline(
        [
            Node(func=nodes.build_passages, inputs=["raw", "params:sources"], outputs="passages", name="passages"),
            Node(func=nodes.build_pairs, inputs=["raw", "params:sources"], outputs="pairs", name="pairs"),
            Node(
                func=nodes.collect_test_texts,
                inputs=["raw", "params:tasks"],
                outputs="test_texts",
                name="test_texts",
            ),
            Node(
                func=nodes.check_leaks,
                inputs=["pairs", "passages", "test_texts", "params:leaks"],
                outputs="leaks",
                name="leaks",
            ),
            Node(
                func=nodes.profile,
                inputs=["passages", "pairs", "leaks"],
                outputs=["profile", "profile_plot"],
                name="profile",
            ),
        ]
    )
