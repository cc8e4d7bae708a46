"""Wiring of finetuning."""

from kedro.pipeline import Node, Pipeline

from ruri_kedro.pipelines.evaluation.nodes import validate
from ruri_kedro.pipelines.finetuning import nodes


def create_pipeline(**kwargs) -> Pipeline:
    """pretrained_model, reranker, examples -> teacher_scores, finetuned_model, embedder and its validation."""
    return Pipeline(
        [
            Node(
                func=nodes.score_with_teacher,
                inputs=["finetuning_examples", "passages", "reranker", "params:finetuning", "params:run.device"],
                outputs="teacher_scores",
                name="score_with_teacher",
            ),
            Node(
                func=nodes.drop_weak_positives,
                inputs=[
                    "finetuning_examples", "teacher_scores", "params:finetuning", "params:run.allow_untrained",
                ],
                outputs=["distilled_examples", "teacher_plot", "weak_positives"],
                name="drop_weak_positives",
            ),
            Node(
                func=nodes.finetune,
                inputs=[
                    "pretrained_model", "distilled_examples", "teacher_scores", "passages", "params:finetuning",
                    "params:prompts", "params:run", "params:sources",
                    "params:base_model.training_head", "development_sets",
                ],
                outputs="finetuned_model",
                name="finetune",
            ),
            Node(
                func=nodes.merge_with_older,
                inputs=[
                    "finetuned_model", "pretrained_model", "base_model", "pairs", "passages", "params:sources",
                    "params:prompts", "params:evaluation", "params:finetuning.merging",
                ],
                outputs=["embedder", "merging_table"],
                name="merge_with_older",
            ),
            Node(
                func=validate,
                inputs=["embedder", "pairs", "passages", "params:sources", "params:prompts", "params:evaluation"],
                outputs="finetuning_validation",
                name="validate_embedder",
            ),
        ]
    )  # fmt: skip
