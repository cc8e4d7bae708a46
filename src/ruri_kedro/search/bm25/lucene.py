"""A Lucene index written and opened through Anserini; the JVM has to run."""

import json
import re
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import numpy as np

from ruri_kedro.errors import DataError
from ruri_kedro.search.bm25.java import java_class

_BY_SCORE = re.compile(r'"score":([^,]+),"doc":(\d+)')  # a hit in JSON: its score and the number of its document
_BY_SCORE_AND_DOCID = re.compile(r'"doc":(\d+)[^\[]*"fields":\[([^,]+),')  # number, and the score it was ordered by
_SPARE = 32  # hits asked for beyond those wanted, among which equal scores mostly end
DOCIDS = "docids.npy"
_CONTENTS = "contents"  # Anserini's name for the field of the text
# Anserini lets Lucene collect 2 GB before it writes, which a smaller heap does not hold. Lucene takes about
# 2 bytes a character, so a quarter of the heap is full after this many characters per byte of heap.
_CHARS_PER_HEAP_BYTE = 1 / 8


class IndexWriter:
    """Adds documents to a Lucene index in `folder`, which it makes.

    `pretokenized` texts are split at white space, others by Lucene's analyser of `language`. At most `heap_mb` / 8
    million characters are held in memory.
    """

    def __init__(self, folder: Path, language: str, pretokenized: bool, threads: int, heap_mb: int):
        analysis = ["-pretokenized"] if pretokenized else ["-language", language]
        where = ["-index", str(folder.absolute()), "-input", "", "-collection", "JsonCollection"]
        self._arguments = [*where, *analysis, "-threads", str(threads)]
        self._folder = folder
        self._limit = int(heap_mb * 2**20 * _CHARS_PER_HEAP_BYTE)
        self._held = 0
        self._indexer = self._open()

    def add(self, documents: Sequence[tuple[str, str]]) -> None:
        """Index (docid, text) pairs. Raises DataError if Lucene does not take all of them."""
        if not documents:
            return
        size = sum(len(text) for _, text in documents)
        if self._held and self._held + size > self._limit:
            self._indexer.close()
            self._indexer = self._open("-append")
            self._held = 0
        self._held += size
        # ASCII escapes carry every character, NUL and lone surrogates included, through the bridge to Java.
        taken = self._indexer.addRawDocuments([json.dumps({"id": i, "contents": text}) for i, text in documents])
        if taken != len(documents):
            raise DataError(
                f"{self._folder}: Lucene took {taken} of {len(documents)} documents, docid {documents[0][0]} to "
                f"{documents[-1][0]}. Java's message is above; out of memory: raise heap_mb."
            )

    def close(self, merge: bool) -> None:
        """Write what is held. `merge` makes one segment of all, which searches fastest."""
        self._indexer.close(merge)

    def _open(self, *more: str):
        return java_class("io.anserini.index.SimpleIndexer")([*self._arguments, *more])


def verify(folder: Path, documents: int) -> None:
    """Raise DataError unless the merged index has this many documents, each with a docid of its own.

    Anserini only logs what goes wrong while an index is written out.
    """
    reader = _open_reader(folder)
    try:
        segments, found = reader.leaves().size(), reader.numDocs()
        if segments != 1 or found != documents:
            raise DataError(
                f"{folder}: Lucene wrote {found} of {documents} documents in {segments} segments. "
                "Java's message is above; look at the space left on the disk."
            )
        docids = reader.leaves().get(0).reader().terms("id").size()
        if docids != documents:
            raise DataError(f"{folder}: {documents} documents have only {docids} docids. Docids are unique.")
    finally:
        reader.close()


def write_docids(folder: Path, documents: int, width: int) -> None:
    """The docid of every document by Lucene's number of it, in at most `width` bytes, as an array beside the index."""
    reader = _open_reader(folder)
    try:
        docids = reader.leaves().get(0).reader().getBinaryDocValues("id")
        column = np.lib.format.open_memmap(folder / DOCIDS, "w+", np.dtype(f"S{width}"), (documents,))
        for number in range(documents):
            docids.advanceExact(number)
            column[number] = docids.binaryValue().utf8ToString().encode("utf-8")
        column.flush()
    finally:
        reader.close()


class Searcher:
    """BM25 search in the index in `folder`, by bags of words: no character of a query has a special meaning.

    Analyser, query, order and scores are Anserini's. Its way from a hit to Python is not taken: it scores each hit a
    second time, reads a stored document for it and passes over an object. Here the hits of a query are one text of
    scores and numbers, and docids come from the array that `write_docids` made.
    """

    def __init__(self, folder: Path, language: str, pretokenized: bool, k1: float, b: float):
        # A long query has more distinct terms than the 1,024 that Lucene takes by default.
        searcher = java_class("org.apache.lucene.search.IndexSearcher")
        searcher.setMaxClauseCount(2**31 - 1)
        self._reader = _open_reader(folder)
        self._searcher = searcher(self._reader.getContext())
        self._searcher.setSimilarity(java_class("org.apache.lucene.search.similarities.BM25Similarity")(k1, b))
        if pretokenized:
            self._analyzer = java_class("org.apache.lucene.analysis.core.WhitespaceAnalyzer")()
        else:
            self._analyzer = java_class("io.anserini.analysis.AnalyzerMap").getLanguageSpecificAnalyzer(language)
        self._queries = java_class("io.anserini.search.query.BagOfWordsQueryGenerator")()
        self._order = java_class("io.anserini.search.SearchCollection").BREAK_SCORE_TIES_BY_DOCID
        self._by_score = java_class("org.apache.lucene.search.TopScoreDocCollector")
        self._by_score_and_docid = java_class("org.apache.lucene.search.TopFieldCollector")
        self._to_json = _hits_writer()
        self._docids = np.load(folder / DOCIDS, mmap_mode="r", allow_pickle=False).view(np.ndarray)

    def search(self, queries: Sequence[str], k: int, threads: int) -> list[list[tuple[str, float]]]:
        """The `k` best (docid, score) of each query, best first, equal scores in order of docid."""
        k = min(k, self._reader.maxDoc())
        with ThreadPoolExecutor(threads) as pool:
            parts = list(pool.map(partial(self._best, k=k), (queries[start::threads] for start in range(threads))))
        return [parts[number % threads][number // threads] for number in range(len(queries))]

    def close(self) -> None:
        """Release the index files."""
        self._reader.close()

    def _best(self, queries: Sequence[str], k: int) -> list[list[tuple[str, float]]]:
        """As `search`, in one thread. Others run meanwhile: pyjnius lets go of Python's lock."""
        from jnius import detach

        try:
            found = [self._hits(query, k) for query in queries]
        finally:
            detach()
        scores = np.full((len(found), k), -np.inf, dtype=np.float32)
        for row, (_, of_query) in zip(scores, found, strict=True):
            row[: len(of_query)] = of_query
        rows = set_apart(scores).tolist()
        return [list(zip(docids, row, strict=False)) for (docids, _), row in zip(found, rows, strict=True)]

    def _hits(self, query: str, k: int) -> tuple[list[str], np.ndarray]:
        """Docids and Lucene's scores of the best.

        Lucene is fastest where equal scores may stand in any order, so they are put in order here. If those at the
        end of all that was fetched equal the k-th, there may be more of them, and Lucene orders by docid itself.
        """
        bag = self._queries.buildQuery(_CONTENTS, self._analyzer, query)
        size = k + _SPARE
        # Lucene counts hits up to the last argument; beyond, it passes over what cannot reach the best.
        tops = self._searcher.search(bag, self._by_score.createSharedManager(size, None, size))
        hits = _BY_SCORE.findall(self._to_json(tops))
        if len(hits) == size and hits[k - 1][0] == hits[-1][0]:
            manager = self._by_score_and_docid.createSharedManager(self._order, k, None, k)
            found = _BY_SCORE_AND_DOCID.findall(self._to_json(self._searcher.search(bag, manager)))
            hits = [(score, number) for number, score in found]
        scores = np.array([float(score) for score, _ in hits], dtype=np.float32)
        docids = self._docids[np.array([int(number) for _, number in hits], dtype=np.int64)]
        best = np.lexsort((docids, -scores))[:k]
        return [docid.decode("utf-8") for docid in docids[best].tolist()], scores[best]


def set_apart(scores: np.ndarray) -> np.ndarray:
    """Scores as Anserini gives them (ScoreTiesAdjusterReranker): no two neighbours of a row are equal.

    `scores` (q, k) float32 fall along each row. They are rounded to four decimals; one that is then within 0.0001 of
    its neighbour is lowered by 0.000001 times its place in such a run, so that a reader who breaks ties by docid
    keeps the order.
    """
    rounded = (np.floor(scores.astype(np.float64) * 1e4 + 0.5) / 1e4).astype(np.float32)
    run = np.zeros(len(scores), dtype=np.float32)
    for place in range(1, scores.shape[1]):
        with np.errstate(invalid="ignore"):  # behind the last hit
            distant = rounded[:, place - 1] - rounded[:, place] > np.float32(1e-4)
        run = np.where(distant, np.float32(0), run + np.float32(1))
        rounded[:, place] -= np.float32(1e-6) * run
    return rounded


def _open_reader(folder: Path):
    path = java_class("java.nio.file.Paths").get(str(folder.absolute()))
    directory = java_class("org.apache.lucene.store.FSDirectory").open(path)
    return java_class("org.apache.lucene.index.DirectoryReader").open(directory)


def _hits_writer():
    """A function from Lucene's hits to JSON, so that one string crosses from Java, not an object per hit."""
    from jnius import find_javaclass

    mapper = java_class("com.fasterxml.jackson.databind.ObjectMapper")()
    sorting = find_javaclass("[Lorg.apache.lucene.search.SortField;")
    mapper.configOverride(sorting).setIsIgnoredType(java_class("java.lang.Boolean")(True))
    shard = java_class("com.fasterxml.jackson.annotation.JsonIgnoreProperties$Value").forIgnoredProperties("shardIndex")
    mapper.configOverride(find_javaclass("org.apache.lucene.search.ScoreDoc")).setIgnorals(shard)
    return mapper.writeValueAsString
