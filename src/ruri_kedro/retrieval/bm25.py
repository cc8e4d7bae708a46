"""BM25 (Robertson and Zaragoza, 2009) in Lucene, through Pyserini's Anserini."""

import hashlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from tqdm import tqdm

from ruri_kedro.errors import DataError, RecipeError
from ruri_kedro.retrieval.java import start_jvm
from ruri_kedro.retrieval.lucene import IndexWriter, Searcher, verify
from ruri_kedro.retrieval.sudachi import term_splitter
from ruri_kedro.tables.files import read_json, remove_leftovers, replace_dir, write_json
from ruri_kedro.tables.store import MANIFEST, is_current
from ruri_kedro.text.hashing import stable_id

ANALYZERS = ("ja", "sudachi_a", "sudachi_b", "sudachi_c")
_LUCENE = "lucene"
_DOCUMENTS_PER_CALL = 1_000
_HITS_PER_CALL = 100_000  # bounds what Java and Python hold at a time
_BLANK = "".join(map(chr, range(33)))  # what Anserini strips before it refuses an empty document


@dataclass(frozen=True)
class BM25Settings:
    """How texts become terms and how terms are weighted.

    analyzer: `ja` is Lucene's Japanese analyser (kuromoji), `sudachi_a`, `_b`, `_c` are Sudachi's modes from the
    shortest words to the longest; `k1`, `b`: BM25's constants; `threads`, `heap_mb` (MiB): what Java may use.
    Raises RecipeError for values that have no meaning.
    """

    analyzer: str
    k1: float
    b: float
    threads: int
    heap_mb: int

    def __post_init__(self) -> None:
        if self.analyzer not in ANALYZERS:
            raise RecipeError(f"bm25 analyzer '{self.analyzer}' is unknown. Known: {', '.join(ANALYZERS)}.")
        if self.k1 < 0 or not 0 <= self.b <= 1:
            raise RecipeError(f"bm25 k1={self.k1}, b={self.b}: k1 is 0 or more, b lies between 0 and 1.")
        if self.threads < 1 or self.heap_mb < 1:
            raise RecipeError(f"bm25 threads={self.threads}, heap_mb={self.heap_mb}: both are 1 or more.")

    @property
    def pretokenized(self) -> bool:
        """Whether texts are split into terms here, not by Lucene."""
        return self.analyzer.startswith("sudachi_")

    def terms(self) -> Callable[[str], str]:
        """The function from a text to what Lucene is given of it."""
        return term_splitter(self.analyzer.removeprefix("sudachi_")) if self.pretokenized else str


def build_index(documents: Iterable[tuple[str, str]], folder: Path, settings: BM25Settings, key: str) -> None:
    """Index (docid, text) pairs in `folder`, unless an index with this `key` is there already.

    Documents are streamed. One that is blank, or has no term for Sudachi, is counted as `blank` and not indexed:
    nothing can find it. The manifest has the key, the analyser, both counts and a digest of docids and texts in
    their order. Raises DataError if docids recur or there is nothing to index; the folder is then as it was.
    """
    folder = Path(folder)
    if is_current(folder, key):
        remove_leftovers(folder)
        return
    start_jvm(settings.heap_mb, settings.threads)
    with replace_dir(folder) as aside:
        facts = _write_documents(documents, aside / _LUCENE, settings)
        if facts["documents"] == 0:
            raise DataError(f"{folder}: there is no document with a term to index. Look at the source.")
        verify(aside / _LUCENE, facts["documents"])
        write_json(aside / MANIFEST, {"key": key, "analyzer": settings.analyzer, **facts})


def search(folder: Path, queries: Sequence[str], k: int, settings: BM25Settings) -> Iterator[list[tuple[str, float]]]:
    """For each query in turn its `k` best (docid, score), best first, equal scores in order of docid.

    A query without a term the index knows has none. Scores are Anserini's: rounded to four decimals, and where
    neighbours are then equal, each 0.000001 below the one before. Hits do not depend on the order of documents or
    the number of threads. Raises DataError if there is no index in `folder`, or one of another analyser, and
    RecipeError if `k` is below 1.
    """
    folder = Path(folder)
    if k < 1:
        raise RecipeError(f"bm25 k={k}: at least one hit is to be asked for.")
    if not (folder / MANIFEST).exists():
        raise DataError(f"{folder}: there is no BM25 index. Build it first (build_index).")
    analyzer = read_json(folder / MANIFEST)["analyzer"]
    if analyzer != settings.analyzer:
        raise DataError(f"{folder}: the index was built with analyzer '{analyzer}', not '{settings.analyzer}'.")
    start_jvm(settings.heap_mb, settings.threads)
    return _search(folder / _LUCENE, queries, k, settings)


def _search(folder: Path, queries: Sequence[str], k: int, settings: BM25Settings) -> Iterator[list[tuple[str, float]]]:
    searcher = Searcher(folder, settings.analyzer, settings.pretokenized, settings.k1, settings.b)
    terms = settings.terms()
    size = max(1, _HITS_PER_CALL // k)
    try:
        with tqdm(total=len(queries), unit="query", desc="BM25 search", disable=None) as progress:
            for start in range(0, len(queries), size):
                block = [terms(query) for query in queries[start : start + size]]
                yield from searcher.search(block, k, settings.threads)
                progress.update(len(block))
    finally:
        searcher.close()


def _write_documents(documents: Iterable[tuple[str, str]], folder: Path, settings: BM25Settings) -> dict:
    """Write the index; what the manifest says of its documents."""
    digest = hashlib.blake2b(digest_size=16)
    indexed = blank = 0
    terms = settings.terms()
    writer = IndexWriter(folder, settings.analyzer, settings.pretokenized, settings.threads, settings.heap_mb)
    complete = False
    stream = iter(tqdm(documents, unit="doc", desc="BM25 index", disable=None))
    try:
        while block := list(islice(stream, _DOCUMENTS_PER_CALL)):
            for docid, text in block:
                digest.update(stable_id(docid, text).encode("ascii"))
            split = [(docid, terms(text)) for docid, text in block]
            with_terms = [(docid, text) for docid, text in split if text.strip(_BLANK)]
            writer.add(with_terms)
            indexed += len(with_terms)
            blank += len(block) - len(with_terms)
        complete = True
    finally:
        writer.close(merge=complete)
    return {"documents": indexed, "blank": blank, "digest": digest.hexdigest()}
