"""Wiring of evaluation."""

from functools import partial, update_wrapper

from kedro.pipeline import Node, Pipeline

from ruri_kedro.pipelines.evaluation import nodes

EMBEDDERS = {"random": "base_model", "pretrained": "pretrained_model", "finetuned": "embedder"}


def create_pipeline(**kwargs) -> Pipeline:
    """models, raw -> scores per query, metrics, report, registered challengers."""
    scores = [f"scores_{model}" for model in nodes.MODELS]
    return Pipeline(
        [
            Node(
                func=nodes.search_tasks,
                inputs=["raw", "params:tasks", "params:bm25", "params:evaluation"],
                outputs="bm25_runs",
                name="search_tasks",
            ),
            Node(
                func=nodes.score_bm25,
                inputs=["raw", "params:tasks", "bm25_runs", "params:evaluation"],
                outputs="scores_bm25",
                name="score_bm25",
            ),
            *[_embedder(name, dataset) for name, dataset in EMBEDDERS.items()],
            Node(
                func=nodes.score_reranker,
                inputs=["raw", "params:tasks", "bm25_runs", "reranker", "params:evaluation"],
                outputs="scores_reranker",
                name="score_reranker",
            ),
            Node(
                func=nodes.report,
                inputs={"recipe": "params:recipe", **dict(zip(scores, scores, strict=True))},
                outputs=["metrics", "metrics_table", "metrics_plot", "report"],
                name="report",
            ),
            Node(
                func=nodes.register,
                inputs=["embedder", "reranker", "metrics", "params:recipe"],
                outputs="registered_models",
                name="register",
            ),
        ]
    )


def _embedder(name: str, dataset: str) -> Node:
    return Node(
        func=update_wrapper(partial(nodes.score_embedder, name=name), nodes.score_embedder),
        inputs={
            "raw": "raw",
            "tasks": "params:tasks",
            "bm25_runs": "bm25_runs",
            "model": dataset,
            "prompts": "params:prompts",
            "task_prompts": "params:task_prompts",
            "evaluation": "params:evaluation",
            "seed": "params:seed",
        },
        outputs=f"scores_{name}",
        name=f"score_{name}",
    )
