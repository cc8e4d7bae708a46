"""Topics, judgments and articles in the forms that several collections share, checked at the border."""

from collections.abc import Iterator
from typing import Any

from ruri_kedro.errors import DataError
from ruri_kedro.tables.formats import RawFile, read_lines
from ruri_kedro.tables.raw import check_grade

_COLUMNS = ("qid", "Q0", "docid", "relevance")
_REMEDY = "Correct the row, or remove it if it names the columns."


def read_topics(file: RawFile) -> Iterator[tuple[str, str, str]]:
    """(file and row, id, text) of lines `id<TAB>text`; a tabulator in a text is a space. Raises DataError."""
    for number, line in read_lines(file):
        key, tab, text = line.partition("\t")
        where = f"{file}, row {number}"
        if not tab or not key.strip():
            raise DataError(f"{where}: an id, a tabulator and a text are expected. Correct the row.")
        yield where, key.strip(), text.strip().replace("\t", " ")


def read_judgments(file: RawFile) -> Iterator[tuple[str, str, str, int]]:
    """(file and row, qid, docid, relevance) of lines `qid Q0 docid relevance`, apart by tabulators or spaces.

    Raises DataError for another number of columns, a relevance that cannot be one, and a document that a query has
    twice.
    """
    seen: set[tuple[str, str]] = set()
    for where, (qid, _, docid, relevance) in columns_of(file, _COLUMNS):
        grade = check_grade(f"{where}, column 'relevance'", relevance, _REMEDY)
        if (qid, docid) in seen:
            raise DataError(f"{where}: query '{qid}' has document '{docid}' twice.")
        seen.add((qid, docid))
        yield where, qid, docid, grade


def columns_of(file: RawFile, names: tuple[str, ...]) -> Iterator[tuple[str, list[str]]]:
    """(file and row, columns) of each line that is not blank. Raises DataError for another number of columns."""
    for number, line in read_lines(file):
        columns = line.split()
        where = f"{file}, row {number}"
        if len(columns) != len(names):
            raise DataError(f"{where}: {len(columns)} columns, expected {len(names)} ({' '.join(names)}).")
        yield where, columns


def paragraphs_of(where: str, sections: list[Any]) -> Iterator[tuple[str, str, str | None]]:
    """('<section index>-<paragraph index>', heading, paragraph) of each paragraph of an article's `sections`.

    Raises DataError for what is not a section. A heading that is null is empty, a paragraph stays null.
    """
    for number, part in enumerate(sections):
        heading = part.get("section", ...) if isinstance(part, dict) else ...
        paragraphs = part.get("paragraphs") if isinstance(part, dict) else None
        is_list = isinstance(paragraphs, list) and all(isinstance(paragraph, str | None) for paragraph in paragraphs)
        if not isinstance(heading, str | None) or not is_list:
            raise DataError(
                f"{where}, field 'sections', item {number}: needs 'section' (str or null) and 'paragraphs' (strs)."
            )
        for index, paragraph in enumerate(paragraphs):
            yield f"{number}-{index}", heading or "", paragraph
