"""What `--collection` means: a task, a source or files, by one rule for all commands."""

import json
import re
from pathlib import Path

import pytest

from ruri_kedro.benchmark.collection import find_collection
from ruri_kedro.benchmark.tasks.stored import store_task
from ruri_kedro.errors import DataError, RecipeError

TASKS = {"jsts": {"type": "sts"}, "wiki": {"type": "sts"}, "quiz": {"type": "retrieval"}}
SOURCES = {"wiki": {"kind": "collection"}, "qa": {"kind": "question_to_passage"}}


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def find(reference, tasks=TASKS, sources=SOURCES):
    folders = (Path("test_sets"), Path("nowhere"))
    return find_collection(reference, {"tasks": tasks, "sources": sources}, lambda: folders)


def read(reference):
    return [*find(reference).rows()]


@pytest.mark.parametrize(
    "reference, error, said",
    [
        ("quiz", DataError, "'quiz': the task is not read yet"),
        ("qa", DataError, "'qa': the source has no passages yet"),
        ("wiki", DataError, "'wiki': the source has no passages yet"),  # a task of this name has no documents
        ("jsts", RecipeError, "of the type sts, without documents"),
        ("nothing", RecipeError, "there is no such file. The recipe has: quiz, wiki, qa."),
        ("./quiz", RecipeError, "there is no such file"),
        ("*.csv", DataError, "no file fits this pattern"),
    ],
)
def test_a_name_that_has_no_documents_is_told(reference, error, said):
    with pytest.raises(error, match=re.escape(said)):
        find(reference)


def test_without_a_name_the_first_retrieval_task_and_then_the_first_collection():
    Path("quiz").write_text("a file does not matter here")
    with pytest.raises(DataError, match="'quiz': the task"):
        find(None)
    with pytest.raises(DataError, match="'wiki': the source"):
        find(None, {})
    with pytest.raises(RecipeError, match="has no collection"):
        find(None, {}, {"qa": SOURCES["qa"]})


@pytest.mark.parametrize("name, kind", [("quiz", "task"), ("qa", "source")])
def test_a_name_of_the_recipe_and_of_a_file_is_an_error_that_names_both(name, kind):
    Path(name).write_text('{"text": "駅"}\n', "utf-8")
    said = f"a {kind} of the recipe and a file have this name. For the file write ./{name}, for the {kind} rename"
    with pytest.raises(RecipeError, match=re.escape(said)):
        find(name)
    assert read(f"./{name}") == [("0", "駅")]


def test_a_task_gives_its_documents_and_queries(here):
    row = {"qid": "q", "question": "どこ？", "context_id": "c", "context": "ここ", "title": "題"}
    (here / "quiz.jsonl").write_text(json.dumps(row) + "\n", "utf-8")
    store_task("quiz", {"type": "retrieval", "shape": "qa", "path": "quiz.jsonl"}, here, here / "test_sets/quiz", None)
    found = find("quiz")
    assert (found.name, [*found.rows()], found.queries()) == ("quiz", [("c", "題 ここ")], ["どこ?"])


@pytest.mark.parametrize("column", ["docid", "doc_id", "id", "_id", "ID"])
def test_docids_are_those_of_the_file(here, column):
    (here / "a.csv").write_text(f"{column},title,本文\n7,駅,ﾄｳｷｮｳの駅\nx/8,,山\n", "utf-8")
    assert read("a.csv") == [("7", "駅 トウキョウの駅"), ("x/8", "山")]
    assert find("a.csv").remark is None


def test_without_docids_documents_have_the_numbers_of_their_rows_whatever_the_form(here):
    texts = ["駅", "山", "海"]
    (here / "a.csv").write_text("".join(f"{text}\n" for text in ["text", *texts]), "utf-8")
    (here / "a.txt").write_text("".join(f"{text}\n" for text in texts), "utf-8")
    (here / "a.jsonl").write_text("".join(json.dumps({"text": text}) + "\n" for text in texts), "utf-8")
    for name in ("a.csv", "a.txt", "a.jsonl"):
        assert read(name) == [("0", "駅"), ("1", "山"), ("2", "海")]
        assert find(name).remark == f"{name}: no column 'docid', so documents are called by their numbers, from 0."


def test_a_folder_or_a_pattern_is_all_of_its_files(here):
    (here / "docs").mkdir()
    for name, text in (("1", "駅"), ("2", "山")):
        (here / f"docs/{name}.jsonl").write_text(json.dumps({"text": text}) + "\n", "utf-8")
    for reference in ("docs", "docs/*.jsonl", str(here / "docs"), str(here / "docs/*")):
        found = find(reference)
        assert (found.name, [*found.rows()]) == ("docs", [("0", "駅"), ("1", "山")])
    before = find("docs").digest
    (here / "docs/2.jsonl").write_text(json.dumps({"text": "海"}) + "\n", "utf-8")
    assert find("docs").digest != before


@pytest.mark.parametrize(
    "files, said",
    [
        ({"a.csv": "id,text\n1,駅\n1,山\n"}, r"a\.csv, row 3, field 'id': '1' occurs twice"),
        ({"a.csv": "id,text\n1,駅\n", "b.jsonl": '{"_id": 1, "text": "山"}\n'}, r"b\.jsonl, row 1.*'1' occurs twice"),
        ({"a.csv": "id,text\n1,駅\n", "b.csv": "text\n山\n"}, r"b\.csv: no column 'docid', but others of 'docs' have"),
        ({"a.csv": "id,text\n1 2,駅\n"}, r"a\.csv, row 2, field 'id': '1 2' is empty or has white space"),
        ({"a.csv": "id,words\n1,駅\n"}, "no column is the text. There are: id, words. Call it one of text,"),
        ({"a.csv": "id,text\n1,\n"}, r"a\.csv, row 2, field 'text'"),
        ({"a.jsonl": ""}, r"a\.jsonl: the file has no rows"),
        ({"a.jsonl": "{"}, r"a\.jsonl, row 1"),
        ({"a.jsonl": '{"id": "1", "text": "駅"}\n{"text": "山"}\n'}, r"a\.jsonl, row 2, field 'id': missing"),
    ],
)
def test_files_that_are_no_collection_are_told(here, files, said):
    (here / "docs").mkdir()
    for name, content in files.items():
        (here / "docs" / name).write_text(content, "utf-8")
    with pytest.raises(DataError, match=said):
        read("docs")
