"""Wiring of reranking."""

from kedro.pipeline import Node, Pipeline

from ruri_kedro.pipelines.reranking import nodes


def create_pipeline(**kwargs) -> Pipeline:
    """pretrained_model, examples -> reranker_stage1 -> reranker."""
    return Pipeline(
        [
            Node(
                func=nodes.train_stage1,
                inputs=[
                    "pretrained_model", "reranking_stage1_examples", "passages", "params:reranking.stage1",
                    "params:run",
                ],
                outputs="reranker_stage1",
                name="train_reranker_stage1",
            ),
            Node(
                func=nodes.train_stage2,
                inputs=[
                    "reranker_stage1", "reranking_stage2_examples", "passages", "params:reranking.stage2",
                    "params:run",
                ],
                outputs="reranker",
                name="train_reranker_stage2",
            ),
        ]
    )  # fmt: skip
