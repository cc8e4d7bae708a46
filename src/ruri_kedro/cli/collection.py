"""The texts that `--collection` names: a file, or a source or a searched task of the recipe."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ruri_kedro.cli.project import stored_test_sets
from ruri_kedro.errors import DataError, RecipeError

_IDS = ("docid", "id", "_id")


@dataclass(frozen=True)
class Collection:
    """(docid, text) documents, and the queries that are known for them."""

    documents: list[tuple[str, str]]
    queries: list[str]

    def asked(self, count: int) -> list[str]:
        """`count` queries at most: the first, or where none are known texts at equal distances in the collection."""
        step = max(1, len(self.documents) // count)
        return self.queries[:count] or [text for _, text in self.documents[::step]][:count]


def read_collection(context: Any, name: str) -> Collection:
    """The documents of a file, of a searched task or of a source; raises RecipeError for a name that is none of them.

    A row of a file has a `text`, a `docid` (or `id`; else it is made of the text) and perhaps a `title`, which stands
    before the text. The project is needed for a task or a source.
    """
    if Path(name).is_file():
        return Collection([*_of_file(Path(name))], [])
    from ruri_kedro.benchmark.tasks.types import is_searched

    tasks = context.params.get("tasks") or {}
    searched = [task for task, spec in tasks.items() if is_searched(spec["type"])]
    if name in searched:
        from ruri_kedro.benchmark.tasks.stored import stored_task

        task = stored_task(stored_test_sets(context), name)
        return Collection([*task.corpus.items()], [*task.queries.values()])
    sources = context.catalog.load("passages").parts() if context.catalog.exists("passages") else []
    if name in sources:
        from ruri_kedro.tables.lookup import iter_texts

        return Collection([*iter_texts(context.catalog.load("passages"), [name])], [])
    raise RecipeError(
        f"collection '{name}': neither a file nor a task or source. Tasks: {', '.join(searched) or 'none'}. "
        f"Sources: {', '.join(sources) or 'none yet (kedro run --pipelines data_engineering)'}."
    )


def _of_file(path: Path) -> Iterable[tuple[str, str]]:
    from ruri_kedro.tables.formats import read_records
    from ruri_kedro.text.hashing import stable_id
    from ruri_kedro.text.prompts import passage_text

    for number, row in read_records(path):
        text, title = row.get("text"), row.get("title") or ""
        if not isinstance(text, str) or not text.strip() or not isinstance(title, str):
            raise DataError(f"{path}, row {number}: a field 'text' that is not empty is expected. Name it so.")
        own = next((row[key] for key in _IDS if row.get(key) is not None), None)
        yield (stable_id(title, text) if own is None else str(own)), passage_text(title, "", text)
