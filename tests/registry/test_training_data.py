"""What a model was trained on is counted from the tables themselves."""

import pytest
from leak_rules import RULES

from ruri_kedro.benchmark.tasks.stored import store_task
from ruri_kedro.corpora.source import parse_sources
from ruri_kedro.registry.evidence.evidence import Evidence
from ruri_kedro.registry.evidence.training_data import (
    contamination_report,
    described_tests,
    of_kind,
    sources_of_kind,
    stage_tables,
    training_of_kind,
    training_sources,
)
from ruri_kedro.tables import SCHEMAS, Part, write_table

BASE = {"run_id": "1", "git_commit": "first", "settings": {"name": "org/base"}}
FIRST = {"run_id": "1", "git_commit": "first", "dvc.data/raw": "old", "settings": {"epochs": 1}}
LAST = {"run_id": "2", "git_commit": "last", "dvc.data/raw": "new", "settings": {"epochs": 3}}
SOURCES = parse_sources(
    {
        "wiki": {"kind": "collection", "path": "w.jsonl"},
        "qa": {"kind": "question_to_passage", "path": "q.jsonl", "collection": "wiki", "licence": "CC BY 4.0"},
        "unused": {"kind": "edit", "path": "e.jsonl", "licence": "proprietary"},
    }
)


def table(root, schema, **parts):
    """A table whose columns are empty where nothing is said."""
    empty = {field.name: [] if "list" in str(field.type) else False if "bool" in str(field.type) else
             0.0 if "float" in str(field.type) else "" for field in SCHEMAS[schema]}  # fmt: skip
    rows = {name: [empty | row for row in given] for name, given in parts.items()}
    made = {name: Part(name, lambda given=given: [given]) for name, given in rows.items()}
    return write_table(root / schema / "-".join(parts), SCHEMAS[schema], made)


@pytest.fixture
def examples(tmp_path):
    rows = [{"source": "qa", "pair_id": f"p{n}", "split": "train" if n < 8 else "validation"} for n in range(10)]
    return {
        "pretraining": table(tmp_path / "1", "examples", qa=rows),
        "finetuning": table(tmp_path / "2", "examples", qa=rows[:3]),
    }


def test_sources_are_those_trained_on_and_their_collections(tmp_path, examples):
    pairs = table(tmp_path, "pairs", qa=[{"pair_id": f"p{n}"} for n in range(20)])
    found = training_sources(SOURCES, pairs, examples)
    assert list(found) == ["qa", "wiki"]
    assert found["qa"]["examples"] == {"pretraining": 8, "finetuning": 3}
    assert (found["qa"]["licence"], found["qa"]["pairs"]) == ("CC BY 4.0", 20)
    assert found["qa"]["digest"] == pairs.manifest("qa")["digest"]
    assert (found["wiki"]["licence"], found["wiki"]["pairs"], found["wiki"]["examples"]) == ("unknown", 0, {})
    assert sources_of_kind(found, "reranker")["qa"]["examples"] == {"pretraining": 8}


def test_the_tables_of_the_stages_and_the_tags_that_find_them(tmp_path, examples):
    tables = stage_tables(examples)
    assert tables["pretraining"]["rows"] == 10 and tables["pretraining"]["digest"] == examples["pretraining"].digest()
    assert tables["finetuning"]["parts"] == {"qa": examples["finetuning"].manifest("qa")["digest"]}
    training = {"tables": tables, "sources": training_sources(SOURCES, table(tmp_path, "pairs", qa=[]), examples),
                "data": {"pairs": "p"}, "made": {"git_commit": "of the evaluation"},
                "trained": {"embedder": {"base_model": BASE, "pretraining": FIRST, "finetuning": LAST},
                            "reranker": {"pretraining": FIRST}}}  # fmt: skip
    tags = {"data.pairs": "p", "data.pretraining": tables["pretraining"]["digest"], "dvc.data/raw": "old"}
    embedder = training_of_kind(training, "embedder")
    assert Evidence(training=embedder).tags == tags | {
        "data.finetuning": tables["finetuning"]["digest"], "git_commit": "last", "dvc.data/raw": "new"
    }  # fmt: skip
    assert embedder["trained"] == {"pretraining": FIRST, "finetuning": LAST}
    assert embedder["base_model"] == {"name": "org/base"}
    reranker = training_of_kind(training, "reranker")
    assert Evidence(training=reranker).tags == tags and reranker["base_model"] == {}, "its last stage is not known"
    assert reranker["sources"]["qa"]["examples"] == {"pretraining": 8}


def test_a_leaked_text_among_the_examples_is_counted_though_no_pair_is_among_the_leaks(tmp_path):
    texts = {"a": "城の石垣は誰が積んだか。", "p": "石工である。", "n": "北の海は冷たい。", "m": "鉄道は朝に出る。"}
    passages = table(tmp_path, "passages", qa=[{"docid": docid, "text": text} for docid, text in texts.items()])
    rows = [{"source": "qa", "example_id": f"e{n}", "split": "train" if n < 8 else "validation", "anchor": "a",
             "positive": "p", "negatives": ["m", "n"] if n % 4 == 0 else ["m"]} for n in range(10)]  # fmt: skip
    examples = {"pretraining": table(tmp_path / "1", "examples", qa=rows),
                "finetuning": table(tmp_path / "2", "examples", qa=rows[:3])}  # fmt: skip
    tests = table(tmp_path, "test_texts", t=[{"test": "t", "role": "text", "item_id": "1", "text": texts["n"]}], u=[])
    leaks = table(tmp_path, "leaks", qa=[{"pair_id": f"p{n}", "removed": n < 3} for n in (1, 1, 2, 7)])
    report = contamination_report(leaks, tests, passages, examples, RULES)
    counts = {"parts": {"negative": 2}, "unsearched": 0}
    assert report["stages"] == {
        "pretraining": {"examples": 8, "leaked": 2, **counts},
        "finetuning": {"examples": 3, "leaked": 1, **counts, "parts": {"negative": 1}},
    }
    assert report["sources"] == {"qa": {"removed": 2, "reported": 1}} and report["tests"] == ["t", "u"]
    assert of_kind(report, "reranker")["stages"].keys() == {"pretraining"}


def test_without_leaks_and_rows_nothing_is_leaked(tmp_path):
    none = {"pretraining": table(tmp_path, "examples", qa=[])}
    tables = (table(tmp_path, name, qa=[]) for name in ("leaks", "test_texts", "passages"))
    report = contamination_report(*tables, none, RULES)
    assert report["stages"] == {"pretraining": {"examples": 0, "leaked": 0, "parts": {}, "unsearched": 0}}


def test_what_a_task_was_tested_on_is_its_texts_its_judgments_and_its_candidates(tmp_path):
    sets = tmp_path / "sets"
    tasks = {"jsquad": {"type": "retrieval"}, "jsts": {"type": "sts"}}

    def stored(gold: float = 5.0, relevant: str = "d1", **candidates) -> dict[str, dict]:
        (tmp_path / "jsts.jsonl").write_text(
            "".join(f'{{"text1": "文", "text2": "文{n}", "score": {score}}}\n' for n, score in enumerate((0.0, gold)))
        )
        (tmp_path / "jsquad.jsonl").write_text(
            f'{{"qid": "q", "question": "問い", "context_id": "{relevant}", "context": "文。", "title": ""}}\n'
        )
        for name, spec in {"jsts": {"type": "sts"}, "jsquad": {"type": "retrieval", "shape": "qa"}}.items():
            store_task(name, spec | {"path": f"{name}.jsonl"}, tmp_path, sets / name, None)
        return described_tests(tasks, sets, ["jsquad", "jsts", "jsquad_rerank"], candidates)

    def changed(other: dict[str, dict]) -> set[str]:
        return {name for name, test in stored(depth=10).items() if test["digest"] != other[name]["digest"]}

    first = stored(depth=10)
    assert {name: test["category"] for name, test in first.items()} == {
        "jsquad": "retrieval",
        "jsts": "sts",
        "jsquad_rerank": "reranking",
    }
    assert changed(first) == set()
    assert changed(stored(depth=20)) == {"jsquad_rerank"}
    assert changed(stored(gold=4.0, depth=10)) == {"jsts"}, "the texts are the same"
    assert changed(stored(relevant="d2", depth=10)) == {"jsquad", "jsquad_rerank"}
