"""Pairs that a training or a sweep is chosen on are kept out of the examples, as those of tests are."""

import json

import pytest
import yaml
from leak_rules import EDITED, EMBEDDED, LONG, PARAMETERS, SETTINGS

from ruri_kedro.benchmark.mteb import hub_tasks
from ruri_kedro.datasets import FolderDataset
from ruri_kedro.errors import RecipeError
from ruri_kedro.hooks.checks import check_recipe_names
from ruri_kedro.pipelines.data_engineering import nodes
from ruri_kedro.pipelines.negative_mining.nodes import choose_examples
from ruri_kedro.tables import SCHEMAS, Table, write_table
from ruri_kedro.tables.lookup import passage_texts

STAGES = {"finetuning": {"negatives": "given", "objective": "info_nce"}}
SOURCES = {
    "nli": {"kind": "premise_to_hypothesis", "path": "nli.jsonl", "licence": "CC0", "stages": STAGES},
    "lines": {"kind": "unsupervised", "path": "lines.jsonl", "licence": "CC0", "stages": STAGES},
}
CLEAN = [
    f"{number}番の店は{chr(0x4E00 + 7 * number)}と{chr(0x5000 + 3 * number)}を並べて売る。" for number in range(12)
]
DEVELOPMENT = {"chosen_on": {"type": "sts", "path": "dev.jsonl"}}
TESTS = {"tested_on_last": {"type": "sts", "path": "test.jsonl"}}
LEAKED = ["犬が公園を走っている。", EMBEDDED, EDITED]  # as it is, within a text, changed


def write(path, rows):
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")


def scored(*pairs):
    return [{"text1": one, "text2": other, "score": float(number)} for number, (one, other) in enumerate(pairs)]


@pytest.fixture
def raw(tmp_path):
    """A leaked premise, a leaked contradiction and leaked sentences, beside clean ones."""
    entailed = [{"premise": one, "hypothesis": other, "label": "entailment"}
                for one, other in zip(CLEAN[:6], CLEAN[6:], strict=True)]  # fmt: skip
    leaked = [{"premise": EDITED, "hypothesis": CLEAN[1], "label": "entailment"},
              {"premise": CLEAN[0], "hypothesis": LEAKED[0], "label": "contradiction"}]  # fmt: skip
    write(tmp_path / "nli.jsonl", entailed + leaked)
    write(tmp_path / "lines.jsonl", [{"text": text} for text in CLEAN + LEAKED])
    pairs = [(LEAKED[0], LONG), ("猫が屋根で眠る。", "川の水は冷たい。")]
    write(tmp_path / "dev.jsonl", scored(*pairs))
    write(tmp_path / "test.jsonl", scored(("月は夜に出る。", "風が強い日だ。"), ("雪が山に積もった。", "海は青い。")))
    return tmp_path


def tables(raw, development) -> dict[str, Table]:
    """The tables of data_engineering and the examples of fine-tuning."""
    made: dict[str, Table] = {}

    def stored(name, parts):
        made[name] = write_table(raw / "out" / name, SCHEMAS[name.removeprefix("finetuning_")], parts)
        return made[name]

    duplicates = write_table(raw / "out/duplicates", SCHEMAS["duplicates"], {})
    passages = stored("passages", nodes.build_passages(raw, SOURCES, duplicates))
    pairs = stored("pairs", nodes.build_pairs(raw, SOURCES, duplicates))
    sets, chosen_on = (FolderDataset(filepath=str(raw / name)) for name in ("test_sets", "development_sets"))
    sets.save(nodes.read_tasks(raw, TESTS))
    chosen_on.save(nodes.read_development(raw, development))
    collected = nodes.collect_test_texts(sets.load(), chosen_on.load(), TESTS, development)
    matches = stored("matches", nodes.match_tests(passages, stored("test_texts", collected), SETTINGS))
    leaks = stored("leaks", nodes.check_leaks(pairs, matches))
    mining = yaml.safe_load(PARAMETERS.read_text("utf-8"))["mining"]["supervised"] | {"negatives": {"finetuning": 5}}
    candidates = write_table(raw / "out/candidates", SCHEMAS["candidates"], {})
    given = (passages, pairs, leaks, matches, candidates, SOURCES, mining, 1)
    stored("examples", choose_examples(*given, stage="finetuning"))
    return made


def texts_of(made) -> dict[str, set[str]]:
    """The texts of the examples, by source."""
    known = passage_texts(made["passages"])
    return {
        source: {known[docid] for row in made["examples"].iter_rows([source])
                 for docid in (row["anchor"], row["positive"], *row["negatives"])}
        for source in made["examples"].parts()
    }  # fmt: skip


def test_examples_that_leak_development_pairs_are_removed_and_counted(raw):
    made = tables(raw, DEVELOPMENT)
    found = texts_of(made)
    assert not (found["nli"] | found["lines"]) & set(LEAKED)
    assert found["lines"] == set(CLEAN) and set(CLEAN[1:6] + CLEAN[7:]) <= found["nli"]
    counts, page = nodes.report_leaks(made["passages"], made["pairs"], made["test_texts"], made["leaks"])
    assert set(counts["test"]) == {"chosen_on"} and (counts["reported"] == 0).all()
    removed = {
        source: {row["pair_id"] for row in made["leaks"].iter_rows([source]) if row["removed"]} for source in SOURCES
    }
    assert {source: len(ids) for source, ids in removed.items()} == {"nli": 2, "lines": 3}
    assert "| nli | 7 | 2 | 28.57% |" in page and "### lines, chosen_on: anchor near text (removed)" in page


def test_without_development_data_they_stay(raw):
    assert texts_of(tables(raw, {}))["lines"] == set(CLEAN + LEAKED)


def test_other_development_data_search_again_and_nothing_else(raw):
    before = {name: table.digest() for name, table in tables(raw, DEVELOPMENT).items()}
    write(raw / "dev.jsonl", scored((CLEAN[8], "川の水は冷たい。"), ("猫が屋根で眠る。", "川の水は冷たい。")))
    made = tables(raw, DEVELOPMENT)
    after = {name: table.digest() for name, table in made.items()}
    assert {name for name in before if before[name] == after[name]} == {"passages", "pairs"}
    assert CLEAN[8] not in texts_of(made)["lines"] and set(LEAKED) <= texts_of(made)["lines"]


def test_development_data_and_tests_do_not_share_a_name(monkeypatch, tmp_path):
    with pytest.raises(RecipeError, match=r"development\.jsick: this name is taken by a test of the block `tasks`"):
        check_recipe_names({"recipe": "shop", "tasks": {"jsick": {}}, "development": {"jsick": {}}})
    monkeypatch.setattr(hub_tasks, "_benchmark_tasks", lambda names: {"JSTS": None})
    with pytest.raises(
        RecipeError, match=r"development\.JSTS: a task of MTEB\(jpn, v1\) \(`tested_on`\) has this name"
    ):
        nodes.read_development(tmp_path, {"JSTS": {"type": "sts", "path": "x.jsonl"}}, ["MTEB(jpn, v1)"])
