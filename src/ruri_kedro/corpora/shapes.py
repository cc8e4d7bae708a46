"""How raw files hold rows: plain rows, articles with sections, or queries judged against a corpus."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from ruri_kedro.errors import DataError
from ruri_kedro.tables.raw import parse_rows, raw_files, read_rows

Lines = Iterable[tuple[int, str]]
Rows = Iterator[dict[str, Any]]


def plain_rows(file: Path, lines: Lines, fields: Mapping[str, type]) -> Rows:
    """Rows of the lines as they are, with the fields checked."""
    required = tuple(name for name, kind in fields.items() if kind is str and name not in ("title", "section"))
    return parse_rows(file, lines, fields, nonempty=required)


def article_paragraphs(file: Path, lines: Lines, fields: Mapping[str, type]) -> Rows:
    """One row per paragraph of each article: title, section, text."""
    for title, sections, _ in _articles(file, lines):
        for section in sections:
            for paragraph in section["paragraphs"]:
                yield {"title": title, "section": section["section"], "text": paragraph}


def article_bodies(file: Path, lines: Lines, fields: Mapping[str, type]) -> Rows:
    """One row per article: title, no section, and the abstract with all paragraphs as text."""
    for title, sections, abstract in _articles(file, lines):
        body = [paragraph for section in sections for paragraph in section["paragraphs"]]
        yield {"title": title, "section": "", "text": "".join([abstract, *body])}


def judged_queries(root: Path, path: str, fields: Mapping[str, type]) -> Rows:
    """One row per (query, positive) of a folder with `queries` and `corpus` files: the query as title, and text."""
    queries, corpus = (_single(root, path, name) for name in ("queries", "corpus"))
    texts = {row["docid"]: row["text"] for row in read_rows(corpus, {"docid": str, "text": str}, "docid", ("text",))}
    for row in read_rows(queries, {"qid": str, "query": str, "positives": list}, "qid", ("query",)):
        for docid in row["positives"]:
            if docid not in texts:
                raise DataError(f"{queries}, query '{row['qid']}': positive '{docid}' is not in {corpus.name}.")
            yield {"title": row["query"], "section": "", "text": texts[docid]}


def _articles(file: Path, lines: Lines) -> Iterator[tuple[str, list[dict], str]]:
    fields = {"article_id": str, "title": str, "abstract": str, "sections": list}
    for row in parse_rows(file, lines, fields, unique="article_id", nonempty=("title",)):
        yield row["title"], row["sections"], row["abstract"]


def _single(root: Path, path: str, stem: str) -> Path:
    files = [file for file in raw_files(root, path) if file.name.startswith(f"{stem}.")]
    if len(files) != 1:
        raise DataError(f"{Path(root) / path}: one file named {stem}.jsonl or {stem}.jsonl.gz expected.")
    return files[0]


BY_LINE: dict[str, Callable[[Path, Lines, Mapping[str, type]], Rows]] = {
    "rows": plain_rows,
    "article_paragraphs": article_paragraphs,
    "article_bodies": article_bodies,
}
BY_FOLDER: dict[str, Callable[[Path, str, Mapping[str, type]], Rows]] = {"judged_queries": judged_queries}
SHAPES = (*BY_LINE, *BY_FOLDER)
