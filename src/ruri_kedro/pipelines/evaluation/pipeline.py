"""Wiring of evaluation."""

from functools import partial, update_wrapper

from kedro.pipeline import Node, Pipeline

from ruri_kedro.benchmark.scoring import stored_runs as searching
from ruri_kedro.models.kinds import kinds_of
from ruri_kedro.pipelines.evaluation import nodes
from ruri_kedro.recipe.addresses import resolve
from ruri_kedro.recipe.stages import evaluated_models, example_tables, kind_of_model, registered_models
from ruri_kedro.registry import registering
from ruri_kedro.registry.promotion.rules import baselines

PARAMETERS_OF_CARDS = ("recipe", "promotion", "tasks", "bm25", "evaluation")


def create_pipeline(**kwargs) -> Pipeline:
    """models, test_sets -> runs, scores per query, metrics, report, registered challengers."""
    models = evaluated_models()
    scores = [f"scores_{model}" for model in nodes.tested_models()]
    return Pipeline(
        [
            # What there is to evaluate; BM25 comes first, whose candidates others order.
            Node(func=nodes.equal_models, inputs=models, outputs="equal_models", name="equal_models"),
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
            # Each model by the nodes of its kind.
            *[
                node
                for name, dataset in models.items()
                for node in resolve(kinds_of(kind_of_model(dataset))[0].evaluate)(name, dataset)
            ],
            # Runs and scores of all, and the models with their evidence.
            Node(
                func=searching.export_runs,
                inputs={
                    "test_sets": "test_sets",
                    "tasks": "params:tasks",
                    "evaluation": "params:evaluation",
                    "bm25": "bm25_runs",
                    **{model: f"runs_{model}" for model in models},
                },
                outputs="runs",
                name="export_runs",
            ),
            Node(
                func=nodes.report,
                inputs={
                    "recipe": "params:recipe",
                    "base_model": "params:base_model",
                    "published": "params:published",
                    "equal": "equal_models",
                    **dict(zip(scores, scores, strict=True)),
                },
                outputs=["metrics", "metrics_table", "metrics_plot", "report"],
                name="report",
            ),
            *_registration(),
        ]
    )


def base_kind_nodes(name: str, dataset: str) -> list[Node]:
    """What a model of any kind of base models finds, and its scores; otherwise as `cross_encoder_nodes`."""
    evaluated = _evaluated()
    encoded = {"model": dataset, "prompts": "params:prompts"}
    return [
        Node(
            func=_named(searching.search_model, name),
            inputs={**evaluated, **encoded, "bm25_runs": "bm25_runs", "multi_vector": "params:multi_vector"},
            outputs=f"runs_{name}",
            name=f"search_{name}",
        ),
        Node(
            func=_named(nodes.score_model, name),
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


def cross_encoder_nodes(name: str, dataset: str) -> list[Node]:
    """How a cross-encoder orders candidates, and its scores; `dataset` is the model, `name` what reports call it."""
    evaluated = _evaluated()
    return [
        Node(
            func=_named(searching.search_reranker, name),
            inputs={**evaluated, "model": dataset, "bm25_runs": "bm25_runs", "device": "params:run.device"},
            outputs=f"runs_{name}",
            name=f"search_{name}",
        ),
        Node(
            func=_named(nodes.score_reranker, name),
            inputs={**evaluated, "runs": f"runs_{name}"},
            outputs=f"scores_{name}",
            name=f"score_{name}",
        ),
    ]


def _evaluated() -> dict[str, str]:
    return {
        "test_sets": "test_sets",
        "tasks": "params:tasks",
        "evaluation": "params:evaluation",
        "equal": "equal_models",
    }


def _named(function, name: str):
    return update_wrapper(partial(function, name=name), function)


def _registration() -> list[Node]:
    """Evidence and cards of the models, and the registered versions."""
    registered = {model: model for model in registered_models()}
    scored = {f"scores_{model}": f"scores_{model}" for model in (*evaluated_models(), *baselines())}
    return [
        Node(
            func=registering.describe_training,
            inputs={
                **{name: name for name in ("passages", "pairs", "leaks", "test_texts")},
                "sources": "params:sources",
                "rules": "params:leaks",
                **registered,
                **example_tables(),
            },
            outputs=["training_data", "contamination"],
            name="describe_training",
        ),
        Node(
            func=registering.compile_evidence,
            inputs={
                **{name: f"params:{name}" for name in PARAMETERS_OF_CARDS},
                "training": "training_data",
                "equal": "equal_models",
                **{name: name for name in ("test_sets", "contamination")},
                **registered,
                **scored,
            },
            outputs=["evidence", *[f"{model}_card" for model in registered]],
            name="compile_evidence",
        ),
        Node(
            func=registering.register,
            inputs={
                **{name: name for name in ("metrics", "evidence")},
                "recipe": "params:recipe",
                "equal": "equal_models",
                **registered,
            },
            outputs="registered_models",
            name="register",
        ),
    ]
