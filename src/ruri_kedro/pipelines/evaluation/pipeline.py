"""Wiring of evaluation."""

from functools import partial, update_wrapper

from kedro.pipeline import Node, Pipeline

from ruri_kedro.pipelines.evaluation import nodes, registering, searching
from ruri_kedro.project import EXAMPLES
from ruri_kedro.registry.rules import BASELINES

PARAMETERS_OF_CARDS = ("recipe", "promotion", "tasks", "bm25", "evaluation")
EMBEDDERS = {"base": "base_model", "pretrained": "pretrained_model", "finetuned": "embedder"}


def create_pipeline(**kwargs) -> Pipeline:
    """models, test_sets -> runs, scores per query, metrics, report, registered challengers."""
    scores = [f"scores_{model}" for model in nodes.MODELS]
    return Pipeline(
        [
            Node(
                func=searching.search_tasks,
                inputs=["test_sets", "params:tasks", "params:bm25", "params:evaluation"],
                outputs="bm25_runs",
                name="search_tasks",
            ),
            Node(
                func=nodes.score_bm25,
                inputs=["test_sets", "params:tasks", "bm25_runs", "params:evaluation"],
                outputs="scores_bm25",
                name="score_bm25",
            ),
            *[node for name, dataset in EMBEDDERS.items() for node in _embedder(name, dataset)],
            Node(
                func=searching.search_reranker,
                inputs=["test_sets", "params:tasks", "bm25_runs", "reranker", "params:evaluation", "params:run.device"],
                outputs="runs_reranker",
                name="search_reranker",
            ),
            Node(
                func=nodes.score_reranker,
                inputs=["test_sets", "params:tasks", "runs_reranker", "params:evaluation"],
                outputs="scores_reranker",
                name="score_reranker",
            ),
            Node(
                func=searching.export_runs,
                inputs={
                    "test_sets": "test_sets",
                    "tasks": "params:tasks",
                    "evaluation": "params:evaluation",
                    "bm25": "bm25_runs",
                    **{model: f"runs_{model}" for model in nodes.MODELS if model != "bm25"},
                },
                outputs="runs",
                name="export_runs",
            ),
            Node(
                func=nodes.report,
                inputs={
                    "recipe": "params:recipe",
                    "base_model": "params:base_model",
                    **dict(zip(scores, scores, strict=True)),
                },
                outputs=["metrics", "metrics_table", "metrics_plot", "report"],
                name="report",
            ),
            *_registration(),
        ]
    )


def _registration() -> list[Node]:
    """Evidence and cards of both models, and the registered versions."""
    return [
        Node(
            func=registering.describe_training,
            inputs={
                **{name: name for name in ("passages", "pairs", "leaks", "test_texts", "embedder", "reranker")},
                "sources": "params:sources",
                "rules": "params:leaks",
                **EXAMPLES,
            },
            outputs=["training_data", "contamination"],
            name="describe_training",
        ),
        Node(
            func=registering.compile_dossiers,
            inputs={
                **{name: f"params:{name}" for name in PARAMETERS_OF_CARDS},
                "training": "training_data",
                **{name: name for name in ("embedder", "reranker", "test_sets", "contamination")},
                **{name: name for name in ("scores_finetuned", "scores_reranker")},
                **{name: name for name in (f"scores_{model}" for model in BASELINES)},
            },
            outputs=["dossiers", "embedder_card", "reranker_card"],
            name="compile_dossiers",
        ),
        Node(
            func=registering.register,
            inputs=["embedder", "reranker", "metrics", "params:recipe", "dossiers"],
            outputs="registered_models",
            name="register",
        ),
    ]


def _embedder(name: str, dataset: str) -> list[Node]:
    evaluated = {"test_sets": "test_sets", "tasks": "params:tasks", "evaluation": "params:evaluation"}
    encoded = {"model": dataset, "prompts": "params:prompts"}
    return [
        Node(
            func=update_wrapper(partial(searching.search_embedder, name=name), searching.search_embedder),
            inputs={**evaluated, **encoded, "bm25_runs": "bm25_runs"},
            outputs=f"runs_{name}",
            name=f"search_{name}",
        ),
        Node(
            func=update_wrapper(partial(nodes.score_embedder, name=name), nodes.score_embedder),
            inputs={
                **evaluated,
                **encoded,
                "runs": f"runs_{name}",
                "task_prompts": "params:task_prompts",
                "seed": "params:seed",
            },
            outputs=f"scores_{name}",
            name=f"score_{name}",
        ),
    ]
