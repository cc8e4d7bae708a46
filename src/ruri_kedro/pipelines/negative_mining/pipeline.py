"""Wiring of negative_mining: the namespaces `pretraining` and `supervised`.

They are two because mining for the supervised stages may use the encoder that pre-training makes.
"""

from collections.abc import Iterable
from functools import partial, update_wrapper

from kedro.pipeline import Node, Pipeline

from ruri_kedro.mining import searches as searching
from ruri_kedro.pipelines.negative_mining import nodes
from ruri_kedro.recipe.stages import mined_stages

SHARED = {"passages", "pairs", "leaks", "matches", "inconsistent"}
PARAMETERS = {"params:sources", "params:bm25", "params:seed", "params:engine"}


def create_pipeline(**kwargs) -> Pipeline:
    """passages, pairs -> candidates, examples; for the supervised stages also mined pairs."""
    return _pretraining() + _supervised()


def _pretraining() -> Pipeline:
    stages = mined_stages("pretraining")
    return Pipeline(
        [
            Node(
                func=_with(searching.build_indexes, stages=stages),
                inputs=["passages", "pairs", "params:sources", "params:mining.pretraining", "params:bm25"],
                outputs="indexes",
                name="index",
            ),
            Node(
                func=_with(searching.search_bm25, stages=stages),
                inputs=[
                    "passages", "pairs", "indexes", "params:sources", "params:mining.pretraining", "params:bm25",
                    "params:engine",
                ],
                outputs="candidates",
                name="search",
            ),
            *[_examples(stage, "pretraining") for stage in stages],
            _report("pretraining", stages),
        ],
        namespace="pretraining",
        inputs=SHARED,
        outputs={f"{stage}_examples" for stage in stages},
        parameters=PARAMETERS | {"params:mining.pretraining"},
    )  # fmt: skip


def _supervised() -> Pipeline:
    stages = mined_stages("supervised")
    return Pipeline(
        [
            Node(
                func=_with(searching.build_indexes, stages=stages),
                inputs=["passages", "pairs", "params:sources", "params:mining.supervised", "params:bm25"],
                outputs="indexes",
                name="index",
            ),
            Node(
                func=_with(searching.embed_collections, stages=stages),
                inputs=[
                    "passages", "pairs", "pretrained_model", "params:sources", "params:mining.supervised",
                    "params:bm25", "params:prompts", "params:encoding", "params:engine",
                ],
                outputs="embeddings",
                name="embed",
            ),
            Node(
                func=_with(searching.search, stages=stages),
                inputs=[
                    "passages", "pairs", "indexes", "embeddings", "pretrained_model", "params:sources",
                    "params:mining.supervised", "params:bm25", "params:prompts", "params:encoding", "params:engine",
                ],
                outputs="candidates",
                name="search",
            ),
            Node(
                func=nodes.mine_positives,
                inputs=[
                    "passages", "pairs", "leaks", "matches", "candidates", "params:sources",
                    "params:mining.supervised", "params:seed",
                ],
                outputs="mined_pairs",
                name="mine_positives",
            ),
            *[_examples(stage, "supervised", mined_pairs="mined_pairs") for stage in stages],
            _report("supervised", stages, mined_pairs="mined_pairs"),
        ],
        namespace="supervised",
        inputs=SHARED | {"pretrained_model"},
        outputs={f"{stage}_examples" for stage in stages},
        parameters=PARAMETERS | {"params:mining.supervised", "params:prompts", "params:encoding"},
    )  # fmt: skip


def _examples(stage: str, mining: str, **more: str) -> Node:
    return Node(
        func=_with(nodes.choose_examples, stage=stage),
        inputs={
            "passages": "passages",
            "pairs": "pairs",
            "leaks": "leaks",
            "matches": "matches",
            "candidates": "candidates",
            "sources": "params:sources",
            "mining": f"params:mining.{mining}",
            "seed": "params:seed",
            "inconsistent": "inconsistent",
            **more,
        },
        outputs=f"{stage}_examples",
        name=f"choose_{stage}_examples",
    )


def _report(namespace: str, stages: Iterable[str], **more: str) -> Node:
    inputs = {
        "passages": "passages",
        "pairs": "pairs",
        "matches": "matches",
        "candidates": "candidates",
        "sources": "params:sources",
        "mining": f"params:mining.{namespace}",
        **more,
    }
    return Node(
        func=nodes.report_negatives,
        inputs=inputs | {stage: f"{stage}_examples" for stage in stages},
        outputs=["negatives_figures", "negatives_page"],
        name="report",
    )


def _with(function, **fixed):
    """The function with some arguments fixed, under its own name, which Kedro-Viz shows."""
    return update_wrapper(partial(function, **fixed), function)
