"""BM25 (Robertson and Zaragoza, 2009) in Lucene, through Pyserini's Anserini, or by bm25s without Java."""

import hashlib
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Annotated, Any, Literal

from annotated_types import Ge
from tqdm import tqdm

from ruri_kedro.errors import DataError, RecipeError
from ruri_kedro.recipe.parse import Count, Share, parameters, parse
from ruri_kedro.search.bm25.bm25s_index import EagerSearcher, write_index
from ruri_kedro.search.bm25.java import start_jvm
from ruri_kedro.search.bm25.lucene import IndexWriter, Searcher, verify, write_docids
from ruri_kedro.search.bm25.sudachi import term_splitter
from ruri_kedro.tables.checksums import MANIFEST, facts_of, is_current, write_manifest
from ruri_kedro.tables.files import remove_leftovers, replace_dir
from ruri_kedro.text.hashing import stable_id

Analyzer = Literal["ja", "sudachi_a", "sudachi_b", "sudachi_c"]
_DOCUMENTS_PER_CALL = 1_000
_HITS_PER_CALL = 100_000  # bounds what Java and Python hold at a time
_BLANK = "".join(map(chr, range(33)))  # what Anserini strips before it refuses an empty document


@parameters
class BM25Settings:
    """How texts become terms and how terms are weighted.

    analyzer: `ja` is Lucene's Japanese analyser (kuromoji), `sudachi_a`, `_b`, `_c` are Sudachi's modes from the
    shortest words to the longest; `k1`, `b`: BM25's constants; `threads`, `heap_mb` (MiB): what Java may use;
    `engine`: `lucene`, or `bm25s`, which needs no Java and takes Sudachi's terms only.
    """

    analyzer: Analyzer
    k1: Annotated[float, Ge(0)]
    b: Share
    threads: Count
    heap_mb: Count
    engine: Literal["lucene", "bm25s"]

    def __post_init__(self) -> None:
        if self.engine == "bm25s" and not self.pretokenized:
            raise RecipeError(
                f"engine bm25s, analyzer '{self.analyzer}': that analyser is part of Lucene. "
                "Take sudachi_a, sudachi_b or sudachi_c, or the engine lucene."
            )

    @property
    def pretokenized(self) -> bool:
        """Whether texts are split into terms here, not by Lucene."""
        return self.analyzer.startswith("sudachi_")

    def terms(self) -> Callable[[str], str]:
        """The function from a text to what the engine is given of it."""
        return term_splitter(self.analyzer.removeprefix("sudachi_")) if self.pretokenized else str

    @property
    def built_with(self) -> dict:
        """The settings that an index is built with: bm25s computes scores then, Lucene when it searches."""
        lasting = ("engine", "analyzer", "k1", "b") if self.engine == "bm25s" else ("engine", "analyzer")
        return {name: getattr(self, name) for name in lasting}


def build_index(
    documents: Iterable[tuple[str, str]], folder: Path, settings: BM25Settings, key: str, most: int | None = None
) -> None:
    """Index (docid, text) pairs in `folder`, unless an index with this `key` is there already.

    Documents are streamed; there are `most` at most, if that is known. One that is blank, or has no term for Sudachi,
    is counted as `blank` and not indexed: nothing can find it. The manifest has the key, the analyser, both counts and
    a digest of docids and texts in their order. Raises DataError if docids recur or there is nothing to index; the
    folder is then as it was.
    """
    folder = Path(folder)
    if is_current(folder, key):
        remove_leftovers(folder)
        return
    with replace_dir(folder) as aside:
        told = tqdm(documents, total=most, unit="doc", desc=f"BM25 index {folder.name}", disable=None)
        facts = _write(told, aside / settings.engine, settings)
        if facts["documents"] == 0:
            raise DataError(f"{folder}: there is no document with a term to index. Look at the source.")
        write_manifest(aside, {"key": key, **settings.built_with, **facts})


def searcher_of(settings: Mapping[str, Any]) -> Callable[[Mapping[str, str], Sequence[str], int], list]:
    """A search of documents that were not indexed before: (texts by docid, queries, k) -> hits of each query."""

    parsed = parse(BM25Settings, settings, "bm25")

    def found(documents: Mapping[str, str], queries: Sequence[str], k: int) -> list[list[tuple[str, float]]]:
        with tempfile.TemporaryDirectory() as folder:
            build_index(documents.items(), Path(folder) / "index", parsed, "")
            return list(search(Path(folder) / "index", queries, k, parsed))

    return found


def search(folder: Path, queries: Sequence[str], k: int, settings: BM25Settings) -> Iterator[list[tuple[str, float]]]:
    """For each query in turn its `k` best (docid, score), best first, equal scores in order of docid.

    A query without a term the index knows has none. Lucene's scores are Anserini's: rounded to four decimals, and
    where neighbours are then equal, each 0.000001 below the one before. Hits do not depend on the order of documents
    or the number of threads. Raises DataError if there is no index in `folder`, or one of other settings, and
    RecipeError if `k` is below 1.
    """
    folder = Path(folder)
    if k < 1:
        raise RecipeError(f"bm25 k={k}: at least one hit is to be asked for.")
    check_index(folder, settings)
    return _search(folder / settings.engine, queries, k, settings)


def open_searcher(folder: Path, settings: BM25Settings) -> Callable[[Sequence[str], int], list]:
    """A search in an index that stays open, (queries, k) -> hits of each, as `search`; for one thread at a time."""
    check_index(Path(folder), settings)
    searcher, terms = _searcher(Path(folder) / settings.engine, settings), settings.terms()
    return lambda queries, k: searcher.search([terms(query) for query in queries], k, 1)


def check_index(folder: Path, settings: BM25Settings) -> None:
    """Raise DataError if there is no index in `folder`, or one of other settings."""
    if not (folder / MANIFEST).exists():
        raise DataError(f"{folder}: there is no BM25 index. Build it first (build_index).")
    manifest = facts_of(folder)
    for name, value in settings.built_with.items():
        if manifest[name] != value:
            raise DataError(f"{folder}: the index was built with {name} '{manifest[name]}', not '{value}'.")


def _search(folder: Path, queries: Sequence[str], k: int, settings: BM25Settings) -> Iterator[list[tuple[str, float]]]:
    searcher = _searcher(folder, settings)
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


def _searcher(folder: Path, settings: BM25Settings) -> Searcher | EagerSearcher:
    if settings.engine == "bm25s":
        return EagerSearcher(folder)
    start_jvm(settings.heap_mb, settings.threads)
    return Searcher(folder, settings.analyzer, settings.pretokenized, settings.k1, settings.b)


def _write(documents: Iterable[tuple[str, str]], folder: Path, settings: BM25Settings) -> dict:
    """Write the index; what the manifest says of its documents."""
    stream = _TermStream(documents, settings.terms())
    if settings.engine == "bm25s":
        write_index(stream, folder, settings.k1, settings.b)
    else:
        _write_lucene(stream, folder, settings)
    return {"documents": stream.indexed, "blank": stream.blank, "digest": stream.digest.hexdigest()}


def _write_lucene(stream: "_TermStream", folder: Path, settings: BM25Settings) -> None:
    start_jvm(settings.heap_mb, settings.threads)
    writer = IndexWriter(folder, settings.analyzer, settings.pretokenized, settings.threads, settings.heap_mb)
    complete = False
    try:
        for block in stream:
            writer.add(block)
        complete = True
    finally:
        writer.close(merge=complete)
    if stream.indexed:
        verify(folder, stream.indexed)
        write_docids(folder, stream.indexed, stream.width)


class _TermStream:
    """Blocks of (docid, terms) of the documents that have any; counts them, and digests all documents."""

    def __init__(self, documents: Iterable[tuple[str, str]], terms: Callable[[str], str]) -> None:
        self._documents = iter(documents)
        self._terms = terms
        self.digest = hashlib.blake2b(digest_size=16)
        self.indexed = self.blank = 0
        self.width = 1  # bytes of the longest docid

    def __iter__(self) -> Iterator[list[tuple[str, str]]]:
        while block := list(islice(self._documents, _DOCUMENTS_PER_CALL)):
            for docid, text in block:
                self.digest.update(stable_id(docid, text).encode("ascii"))
            split = [(docid, self._terms(text)) for docid, text in block]
            with_terms = [(docid, text) for docid, text in split if text.strip(_BLANK)]
            self.indexed += len(with_terms)
            self.blank += len(block) - len(with_terms)
            self.width = max(self.width, *(len(docid.encode("utf-8")) for docid, _ in block))
            yield with_terms
