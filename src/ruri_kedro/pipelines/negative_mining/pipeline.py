"""Wiring of negative_mining: the namespaces `mining_pretraining` and `mining_supervised`.

They are two because mining for the supervised stages may use the encoder that pre-training makes.
"""

from functools import partial, update_wrapper

from kedro.pipeline import Node, Pipeline

from ruri_kedro.mining import searches as searching
from ruri_kedro.pipelines.negative_mining import nodes
from ruri_kedro.recipe.stages import mined_stages


def create_pipeline(**kwargs) -> Pipeline:
    """passages, pairs -> candidates, examples; for the supervised stages also mined pairs."""
    stages = mined_stages("pretraining")
    search = Node(
        func=_with(searching.search_bm25, stages=stages),
        inputs=[
            "passages", "pairs", "indexes", "params:sources", "params:mining.pretraining", "params:bm25",
            "params:engine",
        ],
        outputs="candidates",
        name="search",
    )  # fmt: skip
    return _mining("pretraining", [search]) + _mining("supervised", _supervised(), mined_pairs="mined_pairs")


def _mining(mining: str, nodes_between: list[Node], **more: str) -> Pipeline:
    """Indexes, then the given nodes, then examples and the report; `more` data sets are read by the last two."""
    stages = mined_stages(mining)
    index = Node(
        func=_with(searching.build_indexes, stages=stages),
        inputs=["passages", "pairs", "params:sources", f"params:mining.{mining}", "params:bm25"],
        outputs="indexes",
        name="index",
    )
    found = {
        "passages": "passages",
        "pairs": "pairs",
        "matches": "matches",
        "candidates": "candidates",
        "sources": "params:sources",
        "mining": f"params:mining.{mining}",
        **more,
    }
    examples = [
        Node(
            func=_with(nodes.choose_examples, stage=stage),
            inputs={**found, "leaks": "leaks", "seed": "params:seed", "inconsistent": "inconsistent"},
            outputs=f"{stage}_examples",
            name=f"choose_{stage}_examples",
        )
        for stage in stages
    ]
    report = Node(
        func=nodes.report_negatives,
        inputs=found | {stage: f"{stage}_examples" for stage in stages},
        outputs=["negatives_figures", "negatives_page"],
        name="report",
    )
    whole = Pipeline([index, *nodes_between, *examples, report])
    parameters = {name for name in whole.inputs() if name.startswith("params:")}
    return Pipeline(
        whole,
        namespace=f"mining_{mining}",
        inputs=whole.inputs() - parameters,
        outputs={f"{stage}_examples" for stage in stages},
        parameters=parameters,
    )


def _supervised() -> list[Node]:
    stages = mined_stages("supervised")
    return [
        Node(
            func=_with(searching.embed_collections, stages=stages),
            inputs=[
                "passages", "pairs", "pretrained_model", "params:sources", "params:mining.supervised",
                "params:bm25", "params:prompts", "params:encoding", "params:engine", "params:multi_vector",
            ],
            outputs="embeddings",
            name="embed",
        ),
        Node(
            func=_with(searching.search, stages=stages),
            inputs=[
                "passages", "pairs", "indexes", "embeddings", "pretrained_model",
                "params:sources", "params:mining.supervised", "params:bm25", "params:prompts", "params:encoding",
                "params:engine", "params:multi_vector",
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
    ]  # fmt: skip


def _with(function, **fixed):
    """The function with some arguments fixed, under its own name, which Kedro-Viz shows."""
    return update_wrapper(partial(function, **fixed), function)
