"""What people say of results: kept in a log, and from it in the TREC files of a task of retrieval."""

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Lock

from ruri_kedro.errors import DataError
from ruri_kedro.service.refusals import Refusal
from ruri_kedro.service.stored_documents import Documents
from ruri_kedro.tables.files import replace_file, sole_user
from ruri_kedro.tables.raw import write_rows
from ruri_kedro.text.hashing import stable_id
from ruri_kedro.text.normalize import normalize

_LOG, _TASK, _CORPUS, _DIGEST = "judgments.log", "task", "corpus.jsonl.gz", "corpus.digest"


class Log:
    """Lines of JSON, each written at once; another process may add to the same file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def rows(self) -> Iterator[dict]:
        """The lines; one that was not finished is left out. Raises DataError for one that is not JSON."""
        if not self.path.exists():
            return
        with self.path.open(encoding="utf-8") as handle:
            for number, line in enumerate(handle, start=1):
                if line.endswith("\n"):
                    try:
                        yield json.loads(line)
                    except ValueError as error:
                        raise DataError(f"{self.path}, row {number}: not JSON. Remove the row.") from error

    def add(self, row: dict) -> None:
        """Add a line, with the time; what a killed process had begun is ended first."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        line = json.dumps({"time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()), **row}, ensure_ascii=False)
        with self.path.open("a+b") as handle:
            if handle.tell():
                handle.seek(-1, 2)
                if handle.read(1) != b"\n":
                    handle.truncate(self.path.read_bytes().rfind(b"\n") + 1)
            handle.write(line.encode() + b"\n")

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Keeps other processes from the file."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with sole_user(self.path):
            yield


class Judgments:
    """Of one collection, below `folder`: the log, and what a recipe reads as a task of shape `topics`.

    `task/topics.tsv` and `task/qrels.tsv` hold the queries that have a relevant document, `corpus.jsonl.gz` the
    documents as they were judged.
    """

    def __init__(self, folder: Path, documents: Documents) -> None:
        self._folder, self._documents = folder, documents
        self._log = Log(folder / _LOG)
        self._lock = Lock()

    def of(self, query: str) -> dict[str, int]:
        """Relevance by docid that the query's documents have now."""
        return self._now().get(normalize(query), {})

    def judge(self, query: str, docid: str, relevance: int | None) -> None:
        """Keep a judgment: 1 relevant, 0 not, None: none any more. Raises Refusal (404) for a document there is not."""
        if self._documents.text(docid) is None:
            raise Refusal(404, "the collection has no such document.")
        with self._lock, self._log.alone():
            self._log.add({"query": normalize(query), "docid": docid, "relevance": relevance})
            self._write_task()

    def _now(self) -> dict[str, dict[str, int]]:
        found: dict[str, dict[str, int]] = {}
        for row in self._log.rows():
            judged = found.setdefault(row["query"], {})
            judged.pop(row["docid"], None)
            if row["relevance"] is not None:
                judged[row["docid"]] = row["relevance"]
        return found

    def _write_task(self) -> None:
        # A task's query has a relevant document: without one every order of the documents would be as good.
        judged = {query: of for query, of in self._now().items() if any(of.values())}
        with replace_file(self._folder / _TASK / "topics.tsv") as aside:
            aside.write_text("".join(f"{qid_of(query)}\t{query}\n" for query in judged), "utf-8")
        with replace_file(self._folder / _TASK / "qrels.tsv") as aside:
            rows = ((qid_of(query), docid, grade) for query, of in judged.items() for docid, grade in of.items())
            aside.write_text("".join(f"{qid}\t0\t{docid}\t{grade}\n" for qid, docid, grade in rows), "utf-8")
        digest = self._folder / _DIGEST
        if not digest.exists() or digest.read_text("utf-8") != self._documents.digest:
            rows = ({"docid": docid, "title": "", "text": text} for docid, text in self._documents)
            write_rows(self._folder / _CORPUS, rows)
            with replace_file(digest) as aside:
                aside.write_text(self._documents.digest, "utf-8")


def qid_of(query: str) -> str:
    """The id of a query: the same text has the same id in every collection."""
    return f"q{stable_id(normalize(query))}"
