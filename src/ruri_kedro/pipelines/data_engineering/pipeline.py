"""Wiring of data_engineering."""

from kedro.pipeline import Node, Pipeline

from ruri_kedro.mining.consistency import check_consistency
from ruri_kedro.pipelines.data_engineering import nodes


def create_pipeline(**kwargs) -> Pipeline:
    """raw -> duplicates, passages, pairs, test and development sets, leaks; reports."""
    return Pipeline([*_texts(), *_tests(), *_reports()])


def _texts() -> list[Node]:
    """From the raw corpora to passages and pairs."""
    return [
        Node(
            func=nodes.find_near_duplicates,
            inputs=["raw", "params:sources", "params:deduplication", "params:only"],
            outputs="duplicates",
            name="duplicates",
        ),
        Node(
            func=nodes.build_passages,
            inputs=["raw", "params:sources", "duplicates", "params:only", "params:engine"],
            outputs="passages",
            name="passages",
        ),
        Node(
            func=nodes.build_pairs,
            inputs=["raw", "params:sources", "duplicates", "params:only", "params:engine"],
            outputs="pairs",
            name="pairs",
        ),
    ]


def _tests() -> list[Node]:
    """The tests and the development data, and the pairs whose texts they know."""
    return [
        Node(
            func=nodes.read_tasks,
            inputs=["raw", "params:tasks", "params:tested_on"],
            outputs="test_sets",
            name="read_tasks",
        ),
        Node(
            func=nodes.read_development,
            inputs=["raw", "params:development", "params:tested_on"],
            outputs="development_sets",
            name="read_development",
        ),
        Node(
            func=nodes.collect_test_texts,
            inputs=["test_sets", "development_sets", "params:tasks", "params:development", "params:tested_on"],
            outputs="test_texts",
            name="test_texts",
        ),
        Node(
            func=nodes.match_tests, inputs=["passages", "test_texts", "params:leaks"], outputs="matches", name="matches"
        ),
        Node(func=nodes.check_leaks, inputs=["pairs", "matches"], outputs="leaks", name="leaks"),
    ]


def _reports() -> list[Node]:
    """What was found, and pairs that an encoder does not confirm."""
    return [
        Node(
            func=nodes.report_leaks,
            inputs=["passages", "pairs", "test_texts", "leaks"],
            outputs=["leak_counts", "leak_report"],
            name="leak_report",
        ),
        Node(
            func=check_consistency,
            inputs=["passages", "pairs", "params:consistency", "params:prompts", "params:encoding", "params:sources"],
            outputs="inconsistent",
            name="consistency",
        ),
        Node(
            func=nodes.profile,
            inputs=["passages", "pairs", "leaks", "inconsistent", "params:sources"],
            outputs=["profile", "profile_plot"],
            name="profile",
        ),
    ]
