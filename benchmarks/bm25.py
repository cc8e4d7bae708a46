"""BM25: queries per second of both engines beside their own libraries, and how far the engines agree.

    python benchmarks/bm25.py            # 100,000 paragraphs of the shipped corpus's sentences, 2,000 of its questions
    python benchmarks/bm25.py --made-up  # 100,000 paragraphs of made-up words, which Lucene splits into characters
    python benchmarks/bm25.py --quick    # 2,000 paragraphs and 200 questions of the shipped corpus, all analysers

One JSON line per figure; `limit` is what `ours` should not fall below. Both sides split the queries into terms, have as
many threads, and take turns: the speeds are the medians of three. Ends with an error if a query finds other docids, or
in another order, than it does with Pyserini.
"""

import argparse
import gzip
import json
import os
import random
import tempfile
import time
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path
from statistics import median

from corpora import SEED, Writer
from figures import say

from ruri_kedro.search.bm25.index import BM25Settings, build_index, search
from ruri_kedro.search.bm25.sudachi import term_splitter
from ruri_kedro.text.sentences import split_sentences

SAMPLE = Path(__file__).resolve().parents[1] / "data/01_raw/sample"
DEPTH, K1, B = 100, 0.9, 0.4
PASSAGES, QUERIES, QUERY_CHARS = 100_000, 2_000, 40
ANALYZERS = ("ja", "sudachi_a", "sudachi_b", "sudachi_c")

Found = list[list[str]]  # docids of each query


def rows(name: str) -> Iterator[dict]:
    with gzip.open(SAMPLE / name, "rt", encoding="utf-8") as lines:
        yield from map(json.loads, lines)


def shipped() -> tuple[list[tuple[str, str]], list[str]]:
    """The first (docid, text) paragraphs and training questions of the shipped corpus."""
    texts = (text for row in rows("articles.jsonl.gz") for part in row["sections"] for text in part["paragraphs"])
    documents = [(f"p{number}", text) for number, text in enumerate(islice(texts, 2000))]
    return documents, [row["question"] for row in islice(rows("questions/train.jsonl.gz"), 200)]


def made_up() -> tuple[list[tuple[str, str]], list[str]]:
    """(docid, text) of paragraphs, and distinct queries: the middle of every fiftieth."""
    documents = [(f"p{number}", row["text"]) for number, row in enumerate(Writer(SEED).rows(PASSAGES))]
    middles = (text[len(text) // 2 :][:QUERY_CHARS] for _, text in documents[:: PASSAGES // QUERIES])
    return documents, list(dict.fromkeys(middles))


def recombined() -> tuple[list[tuple[str, str]], list[str]]:
    """(docid, text) of paragraphs of nine sentences of the shipped corpus, 200 characters, and training questions."""
    rng = random.Random(SEED)
    texts = (text for row in rows("articles.jsonl.gz") for part in row["sections"] for text in part["paragraphs"])
    sentences = list(dict.fromkeys(sentence for text in texts for sentence in split_sentences(text)))
    documents = [(f"p{number}", "".join(rng.sample(sentences, 9))) for number in range(PASSAGES)]
    questions = dict.fromkeys(row["question"] for row in rows("questions/train.jsonl.gz"))
    return documents, list(questions)[:QUERIES]


def timed(found: Callable[[], Found], queries: int) -> tuple[Found, float]:
    """What a search finds, and its queries per second."""
    start = time.perf_counter()
    hits = found()
    return hits, queries / (time.perf_counter() - start)


def our_search(folder: Path, queries: list[str], settings: BM25Settings) -> Callable[[], Found]:
    return lambda: [[docid for docid, _ in hits] for hits in search(folder, queries, DEPTH, settings)]


def pyserini_search(folder: Path, queries: list[str], settings: BM25Settings) -> Callable[[], Found]:
    """Pyserini's own batch search, its hits read one by one."""
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

    def found() -> Found:
        hits = searcher.batch_search([split(query) for query in queries], names, k=DEPTH, threads=settings.threads)
        read = [[(hit.docid, hit.score) for hit in hits[name]] for name in names]
        return [[docid for docid, _ in hits] for hits in read]

    return found


def in_turns(ours: Callable[[], Found], theirs: Callable[[], Found], queries: int) -> tuple[Found, Found, float, float]:
    """What both find, and the medians of our speed and theirs; the first round warms up and is not counted."""
    speeds = []
    for _ in range(4):
        (found, our_speed), (expected, their_speed) = (timed(side, queries) for side in (ours, theirs))
        speeds.append((our_speed, their_speed))
    return found, expected, *(median(side) for side in zip(*speeds[1:], strict=True))


def bm25s_search(documents: list[tuple[str, str]], queries: list[str], analyzer: str) -> Callable[[], Found]:
    """bm25s's own retrieve."""
    from bm25s import BM25

    split = term_splitter(analyzer.removeprefix("sudachi_"))
    docids = [docid for docid, _ in documents]
    index = BM25(method="lucene", k1=K1, b=B)
    index.index([split(text).split() for _, text in documents], show_progress=False)

    def found() -> Found:
        terms = [split(query).split() for query in queries]
        rows, _ = index.retrieve([words for words in terms if words], k=min(DEPTH, len(docids)), show_progress=False)
        return [[docids[place] for place in row] for row in rows.tolist()]

    return found


def overlap(first: list[list[str]], second: list[list[str]]) -> float:
    """Mean share of the second's hits that are among the first's."""
    shares = [len({*one} & {*two}) / len(two) for one, two in zip(first, second, strict=True) if two]
    return sum(shares) / len(shares)


def measure(folder: Path, documents: list[tuple[str, str]], queries: list[str], analyzer: str, threads: int) -> None:
    found = {}
    for engine in ("lucene", "bm25s") if analyzer != "ja" else ("lucene",):
        settings = BM25Settings(analyzer, K1, B, threads, 1024, engine)
        place, case = folder / f"{analyzer}-{engine}", f"{engine}, {analyzer}, {len(documents)} passages"
        start = time.perf_counter()
        build_index(documents, place, settings, "benchmark")
        say("bm25", f"{case}: indexing", len(documents) / (time.perf_counter() - start), None, "documents/s")
        ours = our_search(place, queries, settings)
        if engine == "lucene":
            found[engine], expected, speed, peer = in_turns(
                ours, pyserini_search(place, queries, settings), len(queries)
            )
            if found[engine] != expected:
                raise SystemExit(f"{analyzer}: our hits are not Pyserini's.")
        else:
            found[engine], _, speed, peer = in_turns(ours, bm25s_search(documents, queries, analyzer), len(queries))
        limit = 2 * peer if engine == "lucene" else peer
        say("bm25", f"{case}: search, k={DEPTH}", speed, limit, "queries/s", peer)
    if len(found) == 2:
        shared = overlap(found["bm25s"], found["lucene"])
        say("bm25", f"bm25s and lucene, {analyzer}, {len(documents)} passages: overlap@{DEPTH}", shared, 0.98, "share")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--made-up", action="store_true")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--analyzers", nargs="+", choices=ANALYZERS, help="default: all; ja and sudachi_b at full size")
    given = parser.parse_args()
    texts, questions = shipped() if given.quick else made_up() if given.made_up else recombined()
    for name in given.analyzers or (ANALYZERS if given.quick else ("ja", "sudachi_b")):
        with tempfile.TemporaryDirectory() as workspace:
            measure(Path(workspace), texts, questions, name, given.threads)
