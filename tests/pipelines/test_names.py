"""Whatever a source and a task are called, planted leaks are found; a name that cannot be one stops the run."""

import json

import pytest
from kedro.io import DatasetError
from leak_rules import SETTINGS

from ruri_kedro.benchmark.mteb import hub_tasks
from ruri_kedro.datasets import FolderDataset, TableDataset
from ruri_kedro.errors import DataError, RecipeError
from ruri_kedro.pipelines.data_engineering import nodes
from ruri_kedro.tables import SCHEMAS, Part, write_table

NAMES = ["faq", "2024", "商品-質問_2", "Ж", "_x", "が" * 42]
BAD = ["a/b", "../x", ".hidden", "", "a:b", "a\\b"]
LEAKS = 10


def lines(path, rows):
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")


@pytest.mark.parametrize("name", NAMES)
def test_planted_leaks_are_found_whatever_the_names(name, tmp_path):
    planted = [f"この商品{n}の保証期間は何年ですか。" for n in range(LEAKS)]
    clean = [f"部品{chr(0x4E00 + 7 * n)}{chr(0x5000 + 3 * n)}はどこで買えますか。" for n in range(20)]
    lines(tmp_path / "s.jsonl", [{"question": q, "answer": f"{q}への答え"} for q in planted + clean])
    tests = [{"qid": str(n), "question": q, "context_id": str(n), "context": f"{n}年。", "title": ""}
             for n, q in enumerate(planted)]  # fmt: skip
    lines(tmp_path / "q.jsonl", tests)
    fields = {"text": "answer", "answers": None}
    sources = {name: {"kind": "question_to_passage", "path": "s.jsonl", "fields": fields}, "other": {
        "kind": "collection", "path": "s.jsonl", "fields": {"text": "answer"}}}  # fmt: skip
    tasks = {name: {"type": "retrieval", "shape": "qa", "path": "q.jsonl"}}

    def stored(table, parts):
        dataset = TableDataset(filepath=str(tmp_path / "out" / table), schema=table)
        dataset.save(parts)
        return dataset.load()

    none = write_table(tmp_path / "none", SCHEMAS["duplicates"], {})
    passages = stored("passages", nodes.build_passages(tmp_path, sources, none))
    pairs = stored("pairs", nodes.build_pairs(tmp_path, sources, none))
    sets = FolderDataset(filepath=str(tmp_path / "sets"))
    sets.save(nodes.read_tasks(tmp_path, tasks))
    texts = stored("test_texts", nodes.collect_test_texts(sets.load(), tmp_path, tasks, {}))
    matches = stored("matches", nodes.match_tests(passages, texts, SETTINGS))
    leaks = stored("leaks", nodes.check_leaks(pairs, matches))
    assert passages.parts() == sorted(sources) and pairs.parts() == leaks.parts() == [name]
    removed = {row["pair_id"] for row in leaks.iter_rows([name]) if row["removed"]}
    assert len(removed) == LEAKS and pairs.rows(name) == LEAKS + len(clean)


@pytest.mark.parametrize("name", BAD)
def test_a_part_is_never_written_under_another_name_than_its_own(name, tmp_path):
    root = tmp_path / "data/table"
    before = write_table(root, SCHEMAS["scores"], {"good": Part("k", list)})
    with pytest.raises(RecipeError, match="the name"):
        write_table(root, SCHEMAS["scores"], {"good": Part("k", list), name: Part("k", list)})
    with pytest.raises(DatasetError, match="the name"):
        FolderDataset(filepath=str(tmp_path / "folders")).save({name: lambda folder: folder.mkdir()})
    assert before.parts() == ["good"]
    assert [path.name for path in tmp_path.rglob("*") if path.is_dir()] == ["data", "table", "good"]


def test_parts_that_are_not_what_was_asked_for_are_an_error(tmp_path, monkeypatch):
    """As on a file system to which two names are one, or where another process removes a part."""
    monkeypatch.setattr("ruri_kedro.tables.store._write_part", lambda target, schema, part: None)
    with pytest.raises(DataError, match="the part faq is missing, or there and not written"):
        write_table(tmp_path, SCHEMAS["scores"], {"faq": Part("k", list), "left": None})


def test_a_task_of_a_benchmark_and_one_of_the_recipe_do_not_share_a_part(tmp_path, monkeypatch):
    monkeypatch.setattr(hub_tasks, "_benchmark_tasks", lambda names: {"JSTS": None})
    with pytest.raises(RecipeError, match=r"tasks.JSTS: a task of MTEB\(jpn, v1\) \(`tested_on`\) has this name"):
        nodes.read_tasks(tmp_path, {"JSTS": {"type": "sts", "path": "x.jsonl"}}, ["MTEB(jpn, v1)"])
