"""Rows of the user's own in three parts: what is trained on, what watches the training, and a test apart from both.

Texts of one title, or where there are none questions about one passage, stay together. The parts are drawn by their
content: the same file is parted in the same way on every machine.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

from ruri_kedro.corpora.kinds import Draft, Text
from ruri_kedro.errors import DataError
from ruri_kedro.tables.files import replace_dir
from ruri_kedro.tables.raw import write_rows
from ruri_kedro.text.hashing import stable_id
from ruri_kedro.text.normalize import match_key

FEWEST = 20  # rows that can be parted
TEST = (0.2, 1000)  # share of the rows, and the most rows
VALIDATION = (0.1, 500)
TRAIN_FILE, VALIDATION_FILE = "train.jsonl.gz", "validation.jsonl.gz"
TEST_FILE, PASSAGES_FILE = "test.jsonl.gz", "passages.jsonl.gz"

Group = Callable[[Draft], str]


@dataclass(frozen=True)
class Split:
    """The rows of a file in three parts; `by` is what the rows of a part share with none of another one."""

    by: str  # title or passage
    train: list[Draft]
    validation: list[Draft]
    test: list[Draft]

    @property
    def all(self) -> Iterator[Draft]:
        """The rows of all parts."""
        return chain(self.train, self.validation, self.test)


def split(path: Path, rows: list[Draft]) -> Split:
    """Part the rows of a file, each part in an order drawn by lot. Raises DataError where that cannot be done.

    Questions are parted by passage where they have no titles, or too few of them; documents are parted by title only.
    Rows whose question is asked in the test, too, are in the test.
    """
    if len(rows) < FEWEST:
        raise DataError(f"{path}: too few rows, {len(rows)} that differ; {FEWEST} or more are needed. Add some.")
    for by, group in _GROUPS.items():
        is_without = by == "title" and not any(row.positive.title for row in rows)
        if is_without or (by == "passage" and rows[0].anchor is None):
            continue
        test, rest = _draw(rows, group, _wanted(rows, TEST), "test")
        asked = {match_key(row.anchor.text) for row in test if row.anchor}
        test += [row for row in rest if row.anchor and match_key(row.anchor.text) in asked]
        rest = [row for row in rest if not (row.anchor and match_key(row.anchor.text) in asked)]
        validation, train = _draw(rest, group, _wanted(rows, VALIDATION), "validation")
        if test and validation and train:
            return Split(by, *(sorted(part, key=_place) for part in (train, validation, test)))
    raise DataError(
        f"{path}: too many of the {len(rows)} rows have the same title or passage for a test apart from the training. "
        "Add rows about others."
    )


def write_questions(folder: Path, parts: Split) -> None:
    """The files of questions with passages: in the test, questions with all of their passages search all passages."""
    questions = ((row.anchor.text, row.positive) for row in parts.all)
    asked = {match_key(row.anchor.text): row.anchor.text for row in parts.test}
    judged = _judged((asked[match_key(text)], passage) for text, passage in questions if match_key(text) in asked)
    _write(folder, parts, judged, (row.positive for row in parts.all))


def write_documents(folder: Path, parts: Split) -> None:
    """The files of documents: in the test, titles with all of their texts search all texts, which have no titles."""
    judged = _judged((row.positive.title, Text(row.positive.text)) for row in parts.test)
    _write(folder, parts, judged, (Text(row.positive.text) for row in parts.all))


def _write(folder: Path, parts: Split, judged: Mapping[str, list[str]], passages: Iterable[Text]) -> None:
    """Rows of the kinds question_to_passage and title_to_text, and a test of the shapes `queries` and `corpus`."""
    with replace_dir(folder) as aside:
        for name, part in ((TRAIN_FILE, parts.train), (VALIDATION_FILE, parts.validation)):
            write_rows(aside / name, map(_row, part))
        queries = ({"qid": stable_id(query), "query": query, "positives": found} for query, found in judged.items())
        write_rows(aside / TEST_FILE, queries)
        distinct = {_docid(text): text for text in passages}
        documents = ({"docid": docid, "title": text.title, "text": text.text} for docid, text in distinct.items())
        write_rows(aside / PASSAGES_FILE, documents)


def _judged(pairs: Iterable[tuple[str, Text]]) -> dict[str, list[str]]:
    """The docids of each query's passages."""
    found: dict[str, dict[str, None]] = {}
    for query, passage in pairs:
        found.setdefault(query, {})[_docid(passage)] = None
    return {query: list(docids) for query, docids in found.items()}


def _row(draft: Draft) -> dict[str, str]:
    question = {"question": draft.anchor.text} if draft.anchor else {}
    return question | {"title": draft.positive.title, "text": draft.positive.text}


def _docid(text: Text) -> str:
    return stable_id(text.title, text.text)


def _wanted(rows: list[Draft], part: tuple[float, int]) -> int:
    share, most = part
    return min(round(share * len(rows)), most)


def _draw(rows: list[Draft], group: Group, wanted: int, salt: str) -> tuple[list[Draft], list[Draft]]:
    """Rows of groups drawn by lot, `wanted` at most, and the rest; a group that would be too much is left there."""
    members: dict[str, list[Draft]] = {}
    for row in rows:
        members.setdefault(group(row), []).append(row)
    drawn: set[str] = set()
    count = 0
    for name in sorted(members, key=lambda name: stable_id(salt, name)):
        if count + len(members[name]) <= wanted:
            drawn.add(name)
            count += len(members[name])
    return [row for row in rows if group(row) in drawn], [row for row in rows if group(row) not in drawn]


def _by_title(row: Draft) -> str:
    return match_key(row.positive.title) or _by_passage(row)


def _by_passage(row: Draft) -> str:
    return match_key(row.positive.text)


_GROUPS: dict[str, Group] = {"title": _by_title, "passage": _by_passage}


def _place(row: Draft) -> str:
    """Its place by lot; documents of one title stand together, as a synthesis counts them."""
    return stable_id("place", row.anchor.text if row.anchor else row.positive.title)
