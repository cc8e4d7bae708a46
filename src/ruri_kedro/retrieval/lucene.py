"""A Lucene index written and opened through Anserini; the JVM has to run."""

import json
from collections.abc import Sequence
from pathlib import Path

from ruri_kedro.errors import DataError
from ruri_kedro.retrieval.java import java_class

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
        where = ["-index", str(folder), "-input", "", "-collection", "JsonCollection"]
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
    path = java_class("java.nio.file.Paths").get(str(folder))
    reader = java_class("org.apache.lucene.index.DirectoryReader").open(
        java_class("org.apache.lucene.store.FSDirectory").open(path)
    )
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


class Searcher:
    """BM25 search in the index in `folder`, by bags of words: no character of a query has a special meaning."""

    def __init__(self, folder: Path, language: str, pretokenized: bool, k1: float, b: float):
        # A long query has more distinct terms than the 1,024 that Lucene takes by default.
        java_class("org.apache.lucene.search.IndexSearcher").setMaxClauseCount(2**31 - 1)
        self._searcher = java_class("io.anserini.search.SimpleSearcher")(str(folder))
        if pretokenized:
            self._searcher.set_analyzer(java_class("org.apache.lucene.analysis.core.WhitespaceAnalyzer")())
        else:
            self._searcher.set_language(language)
        self._searcher.set_bm25(k1, b)
        self._to_json = _hits_writer()

    def search(self, queries: Sequence[str], k: int, threads: int) -> list[list[tuple[str, float]]]:
        """The `k` best (docid, score) of each query, best first, equal scores in order of docid."""
        texts, numbers = java_class("java.util.ArrayList")(), java_class("java.util.ArrayList")()
        for number, query in enumerate(queries):
            texts.add(query)
            numbers.add(str(number))
        found = json.loads(self._to_json(self._searcher.batch_search(texts, numbers, k, threads)))
        return [[(hit["docid"], hit["score"]) for hit in found[str(number)]] for number in range(len(queries))]

    def close(self) -> None:
        """Release the index files."""
        self._searcher.close()


def _hits_writer():
    """A function from Anserini's hits to JSON: one crossing from Java instead of three per hit, 5 times as fast."""
    from jnius import find_javaclass

    mapper = java_class("com.fasterxml.jackson.databind.ObjectMapper")()
    document = find_javaclass("org.apache.lucene.document.Document")
    mapper.configOverride(document).setIsIgnoredType(java_class("java.lang.Boolean")(True))
    return mapper.writeValueAsString
