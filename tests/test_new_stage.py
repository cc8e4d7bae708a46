"""A new stage and a new kind of model are a row each: all that goes through the tables then knows them."""

import ast
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest
import word_model
from judged import parameters
from kedro.io import DataCatalog, MemoryDataset
from kedro.runner import SequentialRunner
from tiny import tiny_encoder
from tiny_fit import WATCHED
from train_tables import RERANKING, tables

from ruri_kedro.benchmark.tasks.stored import store_task
from ruri_kedro.corpora.source import parse_sources
from ruri_kedro.datasets import ModelFolder, TableDataset
from ruri_kedro.errors import RecipeError
from ruri_kedro.hooks import dry_run
from ruri_kedro.models.kinds import KINDS, saved_kind
from ruri_kedro.pipeline_registry import register_pipelines
from ruri_kedro.pipelines import evaluation
from ruri_kedro.recipe import stages
from ruri_kedro.recipe.stages import STAGES
from ruri_kedro.registry import registering
from ruri_kedro.registry.evidence.training_data import of_kind
from ruri_kedro.registry.promotion.rules import parse_rules
from ruri_kedro.registry.versions.probe import scored_probe
from ruri_kedro.tables.raw import write_rows

PACKAGE = Path(stages.__file__).parents[1]
# Where a stage or a kind may be named: its row, its own pipeline, and the functions of a kind.
OWN = ("recipe/stages.py", "models/kinds.py", "pipelines/adaptation", "pipelines/pretraining", "pipelines/reranking",
       "pipelines/finetuning", "registry/versions/models.py", "registry/evidence/card_texts.py",
       "registry/versions/stored.py")  # fmt: skip


@pytest.fixture(autouse=True)
def rows(monkeypatch):
    monkeypatch.setitem(STAGES, "counting", word_model.STAGE)
    monkeypatch.setitem(KINDS, "words", word_model.KIND)
    word_model.registered.clear()


def test_every_list_of_stages_has_it():
    pipelines = register_pipelines()
    whole = {node.name for node in pipelines["__default__"].nodes}
    assert {"mining_supervised.choose_counting_examples", "word_model.count_words", "evaluation.search_words"} <= whole
    assert {node.name for node in pipelines["word_model"].nodes} == {"word_model.count_words"}
    assert stages.pipeline_order()[-3:] == ("finetuning", "word_model", "evaluation")
    assert stages.evaluated_models()["words"] == "word_model"
    assert stages.registered_names("shop")["word_model"] == "ruri-words-shop"
    assert list(of_kind({"stages": dict.fromkeys(STAGES, 1)}, "word_model")["stages"]) == [
        "adaptation",
        "pretraining",
        "counting",
    ]
    source = {"kind": "title_to_text", "path": "x", "stages": {"counting": {"negatives": "rrf"}}}
    assert parse_sources({"news": source})["news"].rows_of("counting")
    source["stages"]["counting"]["objective"] = "listwise"
    with pytest.raises(RecipeError, match=r"counting\.objective: 'listwise' is not .* Allowed: contrastive\."):
        parse_sources({"news": source})


def test_a_recipe_that_registers_it_bounds_it():
    with pytest.raises(RecipeError, match=r"promotion\.size_mb\.words"):
        parse_rules(parameters())
    given = parameters()
    given["minimum"]["words"] = {"categories": {}, "tasks": {}}
    for bounds in ("size_mb", "latency_ms"):
        given[bounds]["words"] = 1
    assert parse_rules(given).size_mb["words"] == 1


def test_it_is_trained_evaluated_and_registered(tmp_path):
    tiny_encoder().save_pretrained(str(tmp_path / "pretrained"))
    examples, passages = tables(tmp_path)
    (tmp_path / "raw").mkdir()
    asked = [{"qid": str(i), "question": f"東京の図書館{i}", "context_id": str(i), "context": f"東京の図書館は{i}年",
              "title": ""} for i in range(9)]  # fmt: skip
    write_rows(tmp_path / "raw/asked.jsonl", asked)
    task = {"type": "retrieval", "shape": "qa", "path": "asked.jsonl"}
    store_task("asked", task, tmp_path / "raw", tmp_path / "sets/asked", None)
    run = {"seed": 1, "device": "cpu", "devices": 1, "threads": 1, "watch": asdict(WATCHED), "held_out": None,
           "allow_untrained": False, "checkpoints": str(tmp_path / "checkpoints")}  # fmt: skip
    data = {"pretrained_model": tmp_path / "pretrained", "counting_examples": examples, "passages": passages,
            "test_sets": tmp_path / "sets", "params:tasks": {"asked": task}, "params:counting": RERANKING,
            "params:run": run}  # fmt: skip
    catalog = DataCatalog({name: MemoryDataset(value, copy_mode="assign") for name, value in data.items()})
    catalog["word_model"] = ModelFolder(filepath=str(tmp_path / "word_model"))
    catalog["scores_words"] = TableDataset(filepath=str(tmp_path / "scores"), schema="scores")

    tested = evaluation.create_pipeline().only_nodes("search_words", "score_words")
    SequentialRunner().run(word_model.create_pipeline() + tested, catalog)
    folder, scores = catalog.load("word_model"), catalog.load("scores_words")
    assert saved_kind(folder) is word_model.KIND
    mean = np.mean([row["score"] for row in scores.iter_rows() if row["metric"] == "ndcg@10"])
    assert mean > 0.7, "by chance it would be 0.45"

    rules = parameters()
    rules["minimum"]["words"] = {"categories": {}, "tasks": {}}
    for bounds in ("size_mb", "latency_ms"):
        rules[bounds]["words"] = 1
    training = {"sources": {}, "tables": {"counting": {"rows": 24}}, "data": {}, "made": {},
                "trained": {model: {} for model in stages.registered_models()}}  # fmt: skip
    leaks = {"tests": ["asked"], "stages": {}, "sources": {}}
    given = {f"scores_{name}": scores for name in ("bm25", *stages.evaluated_models())}
    evidence, *cards = registering.compile_evidence(
        "shop", rules, {"asked": task}, {}, {"depth": 9}, tmp_path / "sets", training, leaks,
        embedder=tmp_path / "pretrained", reranker=folder, word_model=folder, **given,
    )  # fmt: skip
    assert list(evidence) == ["embedder", "word_model"] and "Counts characters." in cards[-1]
    assert "trains no reranker" in cards[1]
    found = registering.register(
        {"words": {"asked/ndcg@10": mean}}, "shop", {"word_model": evidence["word_model"]}, word_model=folder
    )
    assert found == {"word_model": {"name": "ruri-words-shop", "version": 1}}
    assert word_model.registered == [(folder, "ruri-words-shop", {"asked/ndcg@10": mean}, evidence["word_model"])]


def test_a_later_start_goes_on_from_its_own_kind(tmp_path):
    (tmp_path / "words").mkdir()
    word_model.WordModel({"東": 2.0, "西": 1.0}).save_pretrained(str(tmp_path / "words"))
    assert word_model.start(tmp_path / "words", {}, 8, 0).weights == {"東": 2.0, "西": 1.0}
    probe = [{"query": "東", "passage": "東"}, {"query": "東", "passage": "西"}]
    scored = scored_probe("words", word_model.load(tmp_path / "words"), probe)
    assert [row["score"] for row in scored] == pytest.approx([1, 0])


def test_a_dry_run_asks_for_its_examples(capsys):
    sources = {"news": {"stages": {"counting": {"negatives": "given"}}}}
    chosen = dry_run._with_sources([STAGES["pretraining"], STAGES["counting"]], sources)
    assert chosen == [word_model.STAGE]
    assert capsys.readouterr().out.startswith("pretraining: no source takes part in it.")


def test_no_other_file_lists_stages_or_kinds():
    """A list, a tuple, a set, a table or a comparison with two or more of their names, or one with a kind's."""
    kinds = {word for kind in KINDS.values() for word in (kind.name, kind.word)}
    names = set(STAGES) | kinds | {stage.model for stage in STAGES.values()}
    for path in sorted(PACKAGE.rglob("*.py")):
        place = path.relative_to(PACKAGE).as_posix()
        if place.startswith(OWN):
            continue
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            parts = {ast.Compare: lambda n: [n.left, *n.comparators], ast.Dict: lambda n: n.keys}
            elements = parts.get(type(node), lambda n: getattr(n, "elts", []))(node)
            found = [part.value for part in elements if isinstance(part, ast.Constant) and part.value in names]
            allowed = 0 if isinstance(node, ast.Compare) else 1
            assert len(found) <= allowed, f"{place}, line {node.lineno}: {found}"
