"""How raw files hold rows: as they are, articles of a dump or with sections, queries judged against a corpus, triples.

A new shape is one function from files to rows, one line in SHAPES and its name in `shape_names.Shape`. The records of
hub data sets that are read by their splits have no shape.
"""

import re
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from typing import Any

from ruri_kedro.errors import DataError
from ruri_kedro.tables.formats import RawFile, read_records
from ruri_kedro.tables.judgments import paragraphs_of, read_judgments, read_topics
from ruri_kedro.tables.raw import check_ids, check_text, check_type, missing, read_field, read_rows

Row = tuple[RawFile, int, Mapping[str, Any]]  # the file, the number of the record in it, and the fields
Rows = Iterator[Row]
Files = Sequence[RawFile]

_NULLABLE = (str, type(None))


def plain_rows(files: Files, columns: Collection[str], header: Sequence[str]) -> Rows:
    """The records of the files as they are; `header` names the columns of files that do not."""
    for file in files:
        yield from ((file, number, row) for number, row in read_records(file, columns, header))


def article_paragraphs(files: Files, columns: Collection[str], header: Sequence[str]) -> Rows:
    """One row per paragraph of each article: title, section, text."""
    for file, number, article in _articles(files):
        for _, heading, paragraph in paragraphs_of(f"{file}, row {number}", article["sections"]):
            yield file, number, {"title": article["title"], "section": heading, "text": paragraph}


def article_bodies(files: Files, columns: Collection[str], header: Sequence[str]) -> Rows:
    """One row per article: title, no section, and the abstract with all paragraphs as text."""
    for file, number, article in _articles(files):
        body = [
            check_type(file, number, "sections", paragraph, str)
            for *_, paragraph in paragraphs_of(f"{file}, row {number}", article["sections"])
        ]
        yield file, number, {"title": article["title"], "section": "", "text": "".join([article["abstract"], *body])}


def cirrus(files: Files, columns: Collection[str], header: Sequence[str]) -> Rows:
    """One row per article of a CirrusSearch dump: title, abstract (its opening) and text, which has no paragraphs.

    Lines come in pairs, of an index and a page; pages of other name spaces than that of the articles are left out.
    """
    for file in files:
        records = read_records(file)
        for number, index in records:
            if "index" not in index:
                raise DataError(
                    f"{missing(file, number, 'index', index)} In a CirrusSearch dump rows 1, 3, 5 and so on have it."
                )
            place, page = next(records, (number, {}))
            for field in ("title", "text"):
                if field not in page:
                    raise DataError(missing(file, place, field, page))
            if page.get("namespace", 0) == 0:
                yield file, place, {**page, "abstract": page.get("opening_text") or ""}


def wikiextractor(files: Files, columns: Collection[str], header: Sequence[str]) -> Rows:
    """One row per article of `wikiextractor --json`: title, abstract (the first paragraph), text, and paragraphs.

    Each of `paragraphs` has `title`, that of its section, and `text`. Sections are known if headings were kept.
    """
    for file in files:
        for number, article in read_records(file):
            title, body = (read_field(file, number, article, field, _NULLABLE) for field in ("title", "text"))
            if body is None:
                # An error, or with a filter left out: what asks for the fields decides.
                paragraphs = [{"title": "", "text": None}]
                yield file, number, {**article, "abstract": None, "paragraphs": paragraphs}
                continue
            lines = [line.strip() for line in body.split("\n") if line.strip()]
            paragraphs = list(_sections(lines[1:] if lines[:1] == [title] else lines, _EXTRACTED_HEADING))
            text = "\n".join(paragraph["text"] for paragraph in paragraphs)
            abstract = paragraphs[0]["text"] if paragraphs else ""
            yield file, number, {**article, "text": text, "abstract": abstract, "paragraphs": paragraphs}


def markdown_sections(files: Files, columns: Collection[str], header: Sequence[str]) -> Rows:
    """One row per section of texts with Markdown headings: title, section, text, and the record's other fields.

    The first heading of the first level is the title of a record that has none.
    """
    for file in files:
        for number, row in read_records(file):
            text = read_field(file, number, row, "text", _NULLABLE)
            if text is None:
                yield file, number, {**row, "section": ""}
                continue
            lines = [line.strip() for line in text.split("\n") if line.strip()]
            heading = next((line for line in lines if line.startswith("# ")), "")
            title = row.get("title") or heading.removeprefix("# ")
            bodies: dict[str, list[str]] = {}
            for paragraph in _sections([line for line in lines if line != heading], _MARKDOWN_HEADING):
                bodies.setdefault(paragraph["title"], []).append(paragraph["text"])
            for section, body in bodies.items():
                yield file, number, {**row, "title": title, "section": section, "text": "\n".join(body)}


def judged_queries(files: Files, columns: Collection[str], header: Sequence[str]) -> Rows:
    """One row per (query, positive) of a folder with `queries` and `corpus` files: the query as title, and text."""
    queries, corpus = _named(files, r"queries\."), _named(files, r"corpus\.")
    rows = read_rows(corpus, {"docid": str, "text": str}, "docid", ("docid", "text"))
    texts = {row["docid"]: row["text"] for _, row in rows}
    fields = {"qid": str, "query": str, "positives": list}
    for number, row in read_rows(queries, fields, "qid", ("qid", "query")):
        for docid in check_ids(f"{queries}, row {number}, field 'positives'", row["positives"]):
            if docid not in texts:
                raise DataError(
                    f"{queries}, row {number}, query '{row['qid']}': positive '{docid}' is not in {corpus.name}. "
                    "Take both files of one version."
                )
            yield queries, number, {"title": row["query"], "section": "", "text": texts[docid]}


def topics(files: Files, columns: Collection[str], header: Sequence[str]) -> Rows:
    """One row per (query, positive) of MIRACL's form: question, title, text, negatives (texts judged not relevant).

    `topics*.tsv` (id, query), `qrels*.tsv` (id, Q0, docid, relevance) and `docs*.jsonl.gz` (docid, title, text).
    Only passages that were judged are held in memory.
    """
    queries = _texts(_named(files, r"topics\."))
    judgments = _named(files, r"qrels\.")
    judged: dict[str, dict[bool, list[str]]] = {}
    for _, qid, docid, grade in read_judgments(judgments):
        judged.setdefault(qid, {True: [], False: []})[grade > 0].append(docid)
    wanted = {docid for sides in judged.values() for side in sides.values() for docid in side}
    passages = _passages([file for file in files if re.match(r"docs", file.name)], wanted)
    for number, (qid, sides) in enumerate(judged.items(), start=1):
        if qid not in queries:
            raise DataError(f"{judgments}: query '{qid}' is not in the topics. Take both of one version.")
        if lost := [docid for side in sides.values() for docid in side if docid not in passages]:
            raise DataError(f"{judgments}, query '{qid}': docid '{lost[0]}' is in no docs file. Fetch all of them.")
        negatives = [passages[docid]["text"] for docid in sides[False]]
        for docid in sides[True]:
            yield judgments, number, {**passages[docid], "question": queries[qid], "negatives": negatives}


def triples(files: Files, columns: Collection[str], header: Sequence[str]) -> Rows:
    """One row per (query, positive) of mMARCO's form: anchor, positive, negatives (texts), in order of occurrence.

    `*queries*.tsv` and `*collection*.tsv` (id, text), `triples*.tsv` (ids of query, positive, negative). The texts
    are held in memory: about 6 GB for the 8.8 million passages and 40 million triples of the published set.
    """
    queries, collection = _texts(_named(files, r".*queries")), _texts(_named(files, r".*collection"))
    ids = _named(files, r"triples")
    grouped: dict[tuple[str, str], list[str]] = {}
    for number, row in read_records(ids, header=("anchor", "positive", "negative")):
        for name, table in (("anchor", queries), ("positive", collection), ("negative", collection)):
            if row[name] not in table:
                raise DataError(f"{ids}, row {number}: there is no text for {name} '{row[name]}'.")
        grouped.setdefault((row["anchor"], row["positive"]), []).append(collection[row["negative"]])
    for number, ((anchor, positive), negatives) in enumerate(grouped.items(), start=1):
        yield ids, number, {"anchor": queries[anchor], "positive": collection[positive], "negatives": negatives}


_EXTRACTED_HEADING = re.compile(r"(?:Section::::|#+ )(.+?)\.?")
_MARKDOWN_HEADING = re.compile(r"#+ (.+?)(?: #+)?")


def _sections(lines: Sequence[str], heading: re.Pattern[str]) -> Iterator[dict[str, str]]:
    """A paragraph per line, each with the heading it stands under."""
    section = ""
    for line in lines:
        if found := heading.fullmatch(line):
            section = found[1]
        else:
            yield {"title": section, "text": line}


def _articles(files: Files) -> Rows:
    fields = {"article_id": str, "title": str, "abstract": str, "sections": list}
    for file in files:
        rows = read_rows(file, fields, unique="article_id", nonempty=("title",))
        yield from ((file, number, row) for number, row in rows)


def _passages(files: Files, wanted: Collection[str]) -> dict[str, dict[str, str]]:
    found: dict[str, dict[str, str]] = {}
    for file in files:
        for number, row in read_records(file):
            docid, text = (read_field(file, number, row, field) for field in ("docid", "text"))
            if docid in wanted:
                check_text(file, number, "text", text)
                title = check_type(file, number, "title", row.get("title"), _NULLABLE) or ""
                if found.setdefault(docid, {"title": title, "text": text}) != {"title": title, "text": text}:
                    raise DataError(
                        f"{file}, row {number}, field 'docid': '{docid}' stands for two texts. Ids are unique."
                    )
    return found


def _texts(file: RawFile) -> dict[str, str]:
    """Texts by id."""
    found: dict[str, str] = {}
    for where, key, text in read_topics(file):
        if key in found:
            raise DataError(f"{where}: the id '{key}' stands for two texts. Ids are unique.")
        found[key] = text
    return found


def _named(files: Files, pattern: str) -> RawFile:
    found = [file for file in files if re.match(pattern, file.name)]
    if len(found) != 1:
        names = ", ".join(file.name for file in files)
        raise DataError(f"one file named like {pattern.replace('.*', '*')} is expected among: {names}.")
    return found[0]


SHAPES: dict[str, Callable[[Files, Collection[str], Sequence[str]], Rows]] = {
    "rows": plain_rows,
    "article_paragraphs": article_paragraphs,
    "article_bodies": article_bodies,
    "cirrus": cirrus,
    "wikiextractor": wikiextractor,
    "markdown_sections": markdown_sections,
    "judged_queries": judged_queries,
    "topics": topics,
    "triples": triples,
}
