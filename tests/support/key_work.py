"""What every key of the package is made by: the calls of `behaviour_digest`, and the definitions that they name."""

import ast
from pathlib import Path

from cut_project import REPOSITORY

PACKAGE = REPOSITORY / "src/ruri_kedro"

# What a key is of: module of the call, its arguments as written, and the definitions that they stand for there.
KEYS = {
    "duplicates": ("corpora.build", "duplicate_parts", ["corpora.build.duplicate_parts"]),
    "passages": ("corpora.build", "_part, made.rows", ["corpora.build._part", "corpora.build._passage_rows"]),
    "pairs": ("corpora.build", "_part, made.rows", ["corpora.build._part", "corpora.build._pair_rows"]),
    "synthetic rows": ("corpora.synthesis.build", "build_set", ["corpora.synthesis.build.build_set"]),
    "test_sets": ("benchmark.stored_tasks", "store_task", ["benchmark.stored_tasks.store_task"]),
    "test_texts": (
        "pipelines.data_engineering.nodes",
        "texts_of_task, stored_task",
        ["benchmark.tasks.test_texts", "benchmark.stored_tasks.stored_task"],
    ),
    "test_texts of mteb": (
        "pipelines.data_engineering.hub_tasks",
        "_texts_part",
        ["pipelines.data_engineering.hub_tasks._texts_part"],
    ),
    "matches": (
        "pipelines.data_engineering.nodes", "match_tests", ["pipelines.data_engineering.nodes.match_tests"],
    ),
    "leaks": ("pipelines.data_engineering.nodes", "check_leaks", ["pipelines.data_engineering.nodes.check_leaks"]),
    "inconsistent": (
        "pipelines.data_engineering.consistency",
        "ConsistencyCheck",
        ["pipelines.data_engineering.consistency.ConsistencyCheck"],
    ),
    "indexes": (
        "pipelines.negative_mining.searching", "build_indexes", ["pipelines.negative_mining.searching.build_indexes"],
    ),
    "embedding cache": (
        "pipelines.negative_mining.encoder", "EncoderReference", ["encoders.reference.EncoderReference"],
    ),
    "embeddings": (
        "pipelines.negative_mining.searching",
        "embed_collections",
        ["pipelines.negative_mining.searching.embed_collections"],
    ),
    "candidates by BM25": (
        "pipelines.negative_mining.searching",
        "_candidates_part, rows",
        [
            "pipelines.negative_mining.searching._candidates_part",
            "pipelines.negative_mining.searching.search_bm25",
        ],
    ),
    "candidates": (
        "pipelines.negative_mining.searching",
        "_candidates_part, rows",
        [
            "pipelines.negative_mining.searching._candidates_part",
            "pipelines.negative_mining.source_search.SourceSearch",
        ],
    ),
    "mined_pairs": (
        "pipelines.negative_mining.nodes", "mine_positives", ["pipelines.negative_mining.nodes.mine_positives"],
    ),
    "examples": (
        "pipelines.negative_mining.nodes", "choose_examples", ["pipelines.negative_mining.nodes.choose_examples"],
    ),
    "token ids": (
        "encoders.token_cache", "*_WORK", ["encoders.tokens.tokenize", "encoders.token_cache._SCHEMA"],
    ),
    "training set": ("training.reading", "read_examples", ["training.reading.read_examples"]),
    "plan": ("training.run", "BatchSettings", ["training.planning.BatchSettings"]),
    "teacher_scores": (
        "pipelines.finetuning.nodes", "score_with_teacher", ["pipelines.finetuning.nodes.score_with_teacher"],
    ),
    "distilled_examples": ("pipelines.finetuning.nodes", "believed", ["training.teacher.believed"]),
    "runs of BM25": (
        "pipelines.evaluation.searching", "search_tasks", ["pipelines.evaluation.searching.search_tasks"],
    ),
    "runs of an embedder": (
        "pipelines.evaluation.searching",
        "_run_folders, runs",
        ["pipelines.evaluation.searching._run_folders", "pipelines.evaluation.searching.search_embedder"],
    ),
    "runs of the reranker": (
        "pipelines.evaluation.searching",
        "_run_folders, runs",
        ["pipelines.evaluation.searching._run_folders", "pipelines.evaluation.searching.search_reranker"],
    ),
    "exported runs": (
        "pipelines.evaluation.searching", "export_runs", ["pipelines.evaluation.searching.export_runs"],
    ),
    "scores of BM25": (
        "pipelines.evaluation.nodes",
        "_score_parts, rows",
        ["pipelines.evaluation.nodes._score_parts", "pipelines.evaluation.nodes.score_bm25"],
    ),
    "scores of an embedder": (
        "pipelines.evaluation.nodes",
        "_score_parts, rows",
        ["pipelines.evaluation.nodes._score_parts", "pipelines.evaluation.nodes.score_embedder"],
    ),
    "scores of the reranker": (
        "pipelines.evaluation.nodes",
        "_score_parts, rows",
        ["pipelines.evaluation.nodes._score_parts", "pipelines.evaluation.nodes._candidate_rows"],
    ),
    "evaluate: recipe": (
        "benchmark.judge",
        "Judged, stored_task, *_HANDED_OVER",
        [
            "benchmark.judge.Judged",
            "benchmark.stored_tasks.stored_task",
            "encoders.saved.SavedModel",
            "retrieval.bm25.searcher_of",
        ],
    ),
    "evaluate: mteb": (
        "benchmark.mteb_model",
        "BenchmarkEncoder, _ENCODES, _EVALUATES",
        ["benchmark.mteb_model.BenchmarkEncoder", "encoders.saved.SavedModel", "benchmark.mteb_run.evaluate_tasks"],
    ),
    "evaluate: vectors": (
        "benchmark.mteb_model",
        "VectorStore, text_keys, _ENCODES",
        ["benchmark.vectors.VectorStore", "benchmark.vectors.text_keys", "encoders.saved.SavedModel"],
    ),
    "scores of an ablation's benchmark": (
        "pipelines.ablations.benchmark", "score_benchmark", ["pipelines.ablations.benchmark.score_benchmark"],
    ),
}  # fmt: skip
# The steps of ablations have the digests of the functions of their nodes.
STEPS = ("pipelines.ablations.steps", "*work_of(node)")


def calls(package: Path = PACKAGE) -> set[tuple[str, str]]:
    """Module and arguments of every call of `behaviour_digest`."""
    found = set()
    for path in package.rglob("*.py"):
        module = ".".join(path.relative_to(package).with_suffix("").parts)
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "behaviour_digest":
                found.add((module, ", ".join(map(ast.unparse, node.args))))
    return found
