"""A file of the user's own: which of its columns is the question, the passage or the title, and what its rows say."""

from collections.abc import Mapping
from pathlib import Path

from ruri_kedro.corpora.kinds import KINDS, Draft
from ruri_kedro.errors import DataError, RecipeError
from ruri_kedro.tables.formats import ENDINGS, read_records
from ruri_kedro.tables.raw import check_type, read_rows

# By what a column holds, the names that it often has, the likeliest first.
QUESTIONS = {
    "question": ("question", "query", "質問", "質問文", "問い"),
    "passage": ("passage", "context", "text", "document", "answer", "本文", "文章", "回答", "答え"),
    "title": ("title", "題名", "タイトル", "見出し"),
}
DOCUMENTS = {
    "title": QUESTIONS["title"],
    "text": ("text", "body", "content", "passage", "document", "本文", "文章"),
}
_OPTIONAL = {"question": ("title",), "title": ()}  # by the first of the columns


def find_columns(path: Path, known: Mapping[str, tuple[str, ...]], named: Mapping[str, str]) -> dict[str, str]:
    """The column of the file for each of `known`, QUESTIONS or DOCUMENTS: what `named` gives, else one of a usual name.

    Raises DataError, which lists the columns of the first row, for one that is not there; a title of questions may be
    missing. RecipeError for a name that is none of `known`.
    """
    if not path.is_file():
        raise DataError(f"{path}: no such file. Name one of the forms {', '.join(ENDINGS)}, also gzipped.")
    _, row = next(read_records(path), (0, None))
    if row is None:
        raise DataError(f"{path}: the file has no rows. Name one that has some.")
    for name, column in named.items():
        if name not in known:
            raise RecipeError(f"--field {name}={column}: '{name}' is unknown. Allowed: {', '.join(known)}.")
        if column not in row:
            raise DataError(f"{path}: --field {name}={column}: there is no such column. There are: {', '.join(row)}.")
    folded = {column.strip().casefold(): column for column in row}
    found = dict(named)
    for name, usual in known.items():
        column = found.get(name) or next((folded[each] for each in usual if each in folded), None)
        if column is not None:
            found[name] = column
        elif name not in _OPTIONAL[next(iter(known))]:
            raise DataError(
                f"{path}: no column of a usual name is the {name}. There are: {', '.join(row)}. "
                f"Name it: --field {name}=COLUMN"
            )
    return {name: found[name] for name in known if name in found}


def read_questions(path: Path, columns: Mapping[str, str]) -> list[Draft]:
    """The distinct pairs of a question and its passage, normalised. Raises DataError that names the row."""
    question, passage, title = columns["question"], columns["passage"], columns.get("title")
    rows = (
        {
            "question": row[question],
            "text": row[passage],
            "title": check_type(path, number, title, row.get(title) or "", str) if title else "",
            "answers": [],
            "negatives": [],
        }
        for number, row in read_rows(path, {question: str, passage: str}, nonempty=(question, passage))
    )
    return list(dict.fromkeys(KINDS["question_to_passage"].drafts(rows, {})))


def read_documents(path: Path, columns: Mapping[str, str]) -> list[Draft]:
    """The distinct documents, each with a title, normalised. Raises DataError that names the row."""
    title, text = columns["title"], columns["text"]
    rows = (
        {"title": row[title], "text": row[text]}
        for _, row in read_rows(path, {title: str, text: str}, nonempty=(title, text))
    )
    return list(dict.fromkeys(KINDS["collection"].drafts(rows, {})))
