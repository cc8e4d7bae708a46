"""What every key of the package is made by: the calls of `behaviour_digest`, and the definitions that they name."""

import ast
from pathlib import Path

from cut_project import REPOSITORY

from ruri_kedro.benchmark.tasks.types import task_types
from ruri_kedro.tables.code import name_of

PACKAGE = REPOSITORY / "src/ruri_kedro"


def of_types(aspect: str) -> list[str]:
    """What the keys of tasks of all types name of them."""
    found = {name_of(each) for kind in task_types().values() for each in getattr(kind, aspect)}
    return sorted(name.removeprefix("ruri_kedro.") for name in found)


# What a key is of: module of the call, its arguments as written, and the definitions that they stand for there.
KEYS = {
    "duplicates": ("corpora.build", "duplicate_parts", ["corpora.build.duplicate_parts"]),
    "passages": ("corpora.build", "_part, made.rows", ["corpora.build._part", "corpora.build._passage_rows"]),
    "pairs": ("corpora.build", "_part, made.rows", ["corpora.build._part", "corpora.build._pair_rows"]),
    "synthetic rows": ("corpora.synthesis.build", "build_set", ["corpora.synthesis.build.build_set"]),
    "test_sets": (
        "benchmark.tasks.stored",
        "store_task, *task_types()[spec['type']].reading",
        ["benchmark.tasks.stored.store_task", *of_types("reading")],
    ),
    "test_texts": (
        "pipelines.data_engineering.nodes",
        "texts_of_task, stored_task, *task_types()[row['type']].collecting",
        ["benchmark.tasks.load.test_texts", "benchmark.tasks.stored.stored_task", *of_types("collecting")],
    ),
    "test_texts of mteb": (
        "benchmark.mteb.hub_tasks",
        "_texts_part",
        ["benchmark.mteb.hub_tasks._texts_part"],
    ),
    "matches": (
        "pipelines.data_engineering.nodes", "match_tests", ["pipelines.data_engineering.nodes.match_tests"],
    ),
    "leaks": ("pipelines.data_engineering.nodes", "check_leaks", ["pipelines.data_engineering.nodes.check_leaks"]),
    "inconsistent": (
        "mining.consistency",
        "ConsistencyCheck",
        ["mining.consistency.ConsistencyCheck"],
    ),
    "indexes": (
        "mining.searches", "build_indexes", ["mining.searches.build_indexes"],
    ),
    "embedding cache": (
        "mining.encoder", "EncoderReference", ["models.reference.EncoderReference"],
    ),
    "embeddings": (
        "mining.searches",
        "embed_collections",
        ["mining.searches.embed_collections"],
    ),
    "candidates by BM25": (
        "mining.searches",
        "_candidates_part, rows",
        [
            "mining.searches._candidates_part",
            "mining.searches.search_bm25",
        ],
    ),
    "candidates": (
        "mining.searches",
        "_candidates_part, rows",
        [
            "mining.searches._candidates_part",
            "mining.source_search.SourceSearch",
        ],
    ),
    "mined_pairs": (
        "pipelines.negative_mining.nodes", "mine_positives", ["pipelines.negative_mining.nodes.mine_positives"],
    ),
    "examples": (
        "pipelines.negative_mining.nodes", "choose_examples", ["pipelines.negative_mining.nodes.choose_examples"],
    ),
    "token ids": (
        "models.token_cache", "*_WORK", ["models.tokens.tokenize", "models.token_cache._SCHEMA"],
    ),
    "training set": ("training.reading", "read_examples", ["training.reading.read_examples"]),
    "plan": ("training.run", "BatchSettings", ["training.planning.BatchSettings"]),
    "teacher_scores": (
        "pipelines.finetuning.nodes", "score_with_teacher", ["pipelines.finetuning.nodes.score_with_teacher"],
    ),
    "distilled_examples": ("pipelines.finetuning.nodes", "believed", ["training.teacher.believed"]),
    "runs of BM25": (
        "benchmark.scoring.stored_runs",
        "search_tasks, *kind.searching",
        ["benchmark.scoring.stored_runs.search_tasks", *of_types("searching")],
    ),
    **{
        f"runs of {model}": (
            "benchmark.scoring.stored_runs",
            "_run_folders, load, *work, *kind.searching",
            ["benchmark.scoring.stored_runs._run_folders", *work, *of_types("searching")],
        )
        for model, work in (
            *(
                (name, ["benchmark.scoring.stored_runs.search_model", f"benchmark.scoring.asking.{kind}"])
                for name, kind in (("an embedder", "embedder"), ("a multi-vector model", "multi_vector"))
            ),
            ("the reranker", ["benchmark.scoring.stored_runs.search_reranker"]),
        )
    },
    "exported runs": (
        "benchmark.scoring.stored_runs",
        "export_runs, *kind.searching",
        ["benchmark.scoring.stored_runs.export_runs", *of_types("searching")],
    ),
    **{
        f"scores of {model}": (
            "pipelines.evaluation.nodes",
            "_score_parts, rows, *work, *kind.scoring",
            ["pipelines.evaluation.nodes._score_parts", *work, *of_types("scoring")],
        )
        for model, work in (
            ("BM25", ["pipelines.evaluation.nodes.score_bm25"]),
            *(
                (name, ["pipelines.evaluation.nodes.score_model", f"benchmark.scoring.asking.{kind}"])
                for name, kind in (("an embedder", "embedder"), ("a multi-vector model", "multi_vector"))
            ),
            ("the reranker", ["pipelines.evaluation.nodes.score_reranker"]),
        )
    },
    "evaluate: recipe": (
        "benchmark.recipe_tasks",
        "EvaluatedModel, stored_task, *_HANDED_OVER, *task_types()[types[name]].scoring",
        [
            "benchmark.recipe_tasks.EvaluatedModel",
            "benchmark.tasks.stored.stored_task",
            "models.saved.SavedModel",
            "search.bm25.index.searcher_of",
            "benchmark.scoring.token_index.TokenIndexes",
            *of_types("scoring"),
        ],
    ),
    "evaluate: mteb": (
        "benchmark.mteb.model",
        "BenchmarkEncoder, _ENCODES, _EVALUATES",
        ["benchmark.mteb.model.BenchmarkEncoder", "models.saved.SavedModel", "benchmark.mteb.run.evaluate_tasks"],
    ),
    "evaluate: mteb, late interaction": (
        "benchmark.mteb.searcher",
        "BenchmarkSearcher, multi_vector, TokenIndexes, _LOADS, _EVALUATES",
        ["benchmark.mteb.searcher.BenchmarkSearcher", "benchmark.scoring.asking.multi_vector",
         "benchmark.scoring.token_index.TokenIndexes", "models.saved.SavedModel",
         "benchmark.mteb.run.evaluate_tasks"],
    ),
    "evaluate: vectors": (
        "benchmark.mteb.model",
        "VectorStore, text_keys, _ENCODES",
        ["benchmark.mteb.vectors.VectorStore", "benchmark.mteb.vectors.text_keys", "models.saved.SavedModel"],
    ),
    "documents of files": ("benchmark.collection", "_documents", ["benchmark.collection._documents"]),
    "the service's BM25 index": ("service.indexes", "build_index", ["search.bm25.index.build_index"]),
    "the service's vectors": ("service.indexes", "dense_index", ["service.indexes.dense_index"]),
    "the service's encoder": ("service.inference", "forward.encode_rows", ["models.forward.encode_rows"]),
    "the service's token vectors": (
        "service.inference", "token_vectors.encode_token_rows", ["models.token_vectors.encode_token_rows"],
    ),
    "scores of an ablation's benchmark": (
        "experiments.mteb_scores", "score_benchmark", ["experiments.mteb_scores.score_benchmark"],
    ),
}  # fmt: skip
# The steps of ablations have the digests of the functions of their nodes.
STEPS = ("experiments.steps", "*work_of(node)")


def calls(package: Path = PACKAGE) -> set[tuple[str, str]]:
    """Module and arguments of every call of `behaviour_digest`."""
    found = set()
    for path in package.rglob("*.py"):
        module = ".".join(path.relative_to(package).with_suffix("").parts)
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "behaviour_digest":
                found.add((module, ", ".join(map(ast.unparse, node.args))))
    return found
