"""The texts of mteb's tasks: what training must not have seen of the benchmarks that a model will be published with."""

from collections.abc import Iterator, Mapping
from typing import Any

from mteb.abstasks.retrieval import AbsTaskRetrieval

from ruri_kedro.text.prompts import passage_text

# The collections of MIRACL and Mr. TyDi are Wikipedia itself, millions of passages that would only be reported.
LARGEST_COLLECTION = 1_000_000
_COLUMNS = ("column_names", "input_column_name", "input1_column_name", "input2_column_name")


def mteb_texts(task: Any) -> Iterator[dict]:
    """Rows of TEST_TEXTS of a task whose data are loaded, of the splits and languages that it is evaluated on.

    As `tasks.test_texts`: queries, each with its positives, and passages; or the distinct texts of the other types.
    Collections of more than LARGEST_COLLECTION passages are left out but for the positives.
    """
    if not isinstance(task, AbsTaskRetrieval):
        for number, text in enumerate(dict.fromkeys(_texts(task))):
            yield _row(task, "text", str(number), text)
        return
    task.convert_v1_dataset_format_to_v2(num_proc=None)
    for place, data in _splits(task):
        yield from _search(task, place, data)


def _search(task: Any, place: str, data: Mapping[str, Any]) -> Iterator[dict]:
    """Ids are those of mteb behind the split, since two splits may have the same ones."""
    judged = {
        qid: [docid for docid, grade in grades.items() if grade > 0] for qid, grades in data["relevant_docs"].items()
    }
    wanted = {docid for docids in judged.values() for docid in docids}
    positives = {row["id"]: _passage(row) for row in data["corpus"] if row["id"] in wanted}
    for row in data["queries"]:
        yield _row(task, "query", f"{place}/{row['id']}", row["text"])
        for docid in judged.get(row["id"], ()):
            if docid in positives:
                yield _row(task, "positive", f"{place}/{row['id']}", positives[docid])
    if len(data["corpus"]) <= LARGEST_COLLECTION:
        for row in data["corpus"]:
            yield _row(task, "passage", f"{place}/{row['id']}", _passage(row))


def _texts(task: Any) -> Iterator[str]:
    named = [getattr(task, name) for name in _COLUMNS if hasattr(task, name)]
    columns = [column for names in named for column in ([names] if isinstance(names, str) else names)]
    for _, data in _splits(task):
        for column in columns:
            for value in data[column]:
                yield from [value] if isinstance(value, str) else value  # a row of a clustering may hold a list


def _splits(task: Any) -> Iterator[tuple[str, Any]]:
    """(name, data) of each language and split; tasks of one language may have no level for it."""
    for subset in task.hf_subsets:
        of_language = task.dataset.get(subset, task.dataset)
        yield from ((f"{subset}/{split}", of_language[split]) for split in task.eval_splits)


def _passage(row: Mapping[str, str]) -> str:
    return passage_text(row.get("title") or "", "", row["text"])


def _row(task: Any, role: str, item_id: str, text: str) -> dict:
    return {"test": task.metadata.name, "role": role, "item_id": item_id, "text": text}
