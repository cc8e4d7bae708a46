"""BM25: queries per second of both engines beside their own libraries, and how far the engines agree.

    python benchmarks/bm25.py            # all paragraphs and training questions of the shipped corpus
    python benchmarks/bm25.py --quick    # 2,000 paragraphs, 200 questions

One JSON line per figure; `limit` is what `ours` should not fall below. Both sides split the queries into terms.
"""

import argparse
import gzip
import json
import os
import tempfile
import time
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

from ruri_kedro.retrieval.bm25 import BM25Settings, build_index, search
from ruri_kedro.retrieval.sudachi import term_splitter

SAMPLE = Path(__file__).resolve().parents[1] / "data/01_raw/sample"
DEPTH, K1, B = 100, 0.9, 0.4


def rows(name: str) -> Iterator[dict]:
    with gzip.open(SAMPLE / name, "rt", encoding="utf-8") as lines:
        yield from map(json.loads, lines)


def paragraphs() -> Iterator[tuple[str, str]]:
    """(docid, text) of the paragraphs of all articles."""
    for article in rows("articles.jsonl.gz"):
        texts = [text for section in article["sections"] for text in section["paragraphs"]]
        for number, text in enumerate(texts):
            yield f"{article['article_id']}-{number}", text


def say(case: str, ours: float, peer: float | None, limit: float | None, unit: str) -> None:
    figure = {"bench": "bm25", "case": case, "ours": ours, "peer": peer, "limit": limit, "unit": unit}
    print(json.dumps({name: round(v, 4) if isinstance(v, float) else v for name, v in figure.items()}), flush=True)


def timed_search(folder: Path, queries: list[str], settings: BM25Settings) -> tuple[list[list[str]], float]:
    """Docids found for each query, and queries per second, the index opened before."""
    list(search(folder, queries[:2], DEPTH, settings))
    start = time.perf_counter()
    found = [[docid for docid, _ in hits] for hits in search(folder, queries, DEPTH, settings)]
    return found, len(queries) / (time.perf_counter() - start)


def pyserini_speed(folder: Path, queries: list[str], settings: BM25Settings) -> float:
    """Queries per second of Pyserini's own batch search, its hits read one by one."""
    os.environ.setdefault("OPENAI_API_KEY", "none")  # Pyserini makes a client at import, which is not used
    from pyserini.analysis import JWhiteSpaceAnalyzer
    from pyserini.search.lucene import LuceneSearcher

    searcher = LuceneSearcher(str(folder / "lucene"))
    if settings.pretokenized:
        searcher.set_analyzer(JWhiteSpaceAnalyzer())
    else:
        searcher.set_language(settings.analyzer)
    searcher.set_bm25(K1, B)
    split = settings.terms()
    names = [str(number) for number in range(len(queries))]
    searcher.batch_search([split(query) for query in queries[:2]], names[:2], k=DEPTH, threads=settings.threads)
    start = time.perf_counter()
    texts = [split(query) for query in queries]
    hits = searcher.batch_search(texts, names, k=DEPTH, threads=settings.threads)
    read = [[(hit.docid, hit.score) for hit in hits[name]] for name in names]
    return len(read) / (time.perf_counter() - start)


def bm25s_speed(documents: list[tuple[str, str]], queries: list[str], analyzer: str) -> float:
    """Queries per second of bm25s's own retrieve."""
    from bm25s import BM25

    split = term_splitter(analyzer.removeprefix("sudachi_"))
    index = BM25(method="lucene", k1=K1, b=B)
    index.index([split(text).split() for _, text in documents], show_progress=False)
    start = time.perf_counter()
    terms = [split(query).split() for query in queries]
    index.retrieve([words for words in terms if words], k=min(DEPTH, len(documents)), show_progress=False)
    return len(queries) / (time.perf_counter() - start)


def overlap(first: list[list[str]], second: list[list[str]]) -> float:
    """Mean share of the second's hits that are among the first's."""
    shares = [len({*one} & {*two}) / len(two) for one, two in zip(first, second, strict=True) if two]
    return sum(shares) / len(shares)


def measure(folder: Path, documents: list[tuple[str, str]], queries: list[str], threads: int) -> None:
    for analyzer in ("ja", "sudachi_a", "sudachi_b", "sudachi_c"):
        found = {}
        for engine in ("lucene", "bm25s") if analyzer != "ja" else ("lucene",):
            settings = BM25Settings(analyzer, K1, B, threads, 1024, engine)
            place, case = folder / f"{analyzer}-{engine}", f"{engine}, {analyzer}"
            start = time.perf_counter()
            build_index(documents, place, settings, "benchmark")
            say(f"{case}: indexing", len(documents) / (time.perf_counter() - start), None, None, "documents/s")
            found[engine], speed = timed_search(place, queries, settings)
            lucene = engine == "lucene"
            peer = pyserini_speed(place, queries, settings) if lucene else bm25s_speed(documents, queries, analyzer)
            say(f"{case}: search, k={DEPTH}", speed, peer, peer, "queries/s")
        if len(found) == 2:
            shared = overlap(found["bm25s"], found["lucene"])
            say(f"bm25s and lucene, {analyzer}: overlap@{DEPTH}", shared, None, 0.98, "share")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--threads", type=int, default=2)
    given = parser.parse_args()
    texts = list(islice(paragraphs(), 2000 if given.quick else None))
    questions = [row["question"] for row in islice(rows("questions/train.jsonl.gz"), 200 if given.quick else None)]
    with tempfile.TemporaryDirectory() as workspace:
        measure(Path(workspace), texts, questions, given.threads)
