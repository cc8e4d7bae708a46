"""From raw corpora to passages and pairs, and what the benchmark knows of them."""

from collections.abc import Iterator
from pathlib import Path

from ruri_kedro.benchmark.contamination import find_leaks
from ruri_kedro.benchmark.tasks import load_task
from ruri_kedro.benchmark.tasks import test_texts as texts_of_task
from ruri_kedro.corpora.build import pair_parts, passage_parts
from ruri_kedro.corpora.profile import plot_profile, profile_tables
from ruri_kedro.corpora.source import parse_sources
from ruri_kedro.pipelines.shared import Figure, Frame, Params
from ruri_kedro.tables import Part, Table
from ruri_kedro.tables.code import code_digest
from ruri_kedro.tables.lookup import passage_texts
from ruri_kedro.tables.store import blocks, key_of


def build_passages(raw: Path, sources: Params) -> dict[str, Part]:
    """Every text of every source, normalised, once."""
    return passage_parts(parse_sources(sources), raw)


def build_pairs(raw: Path, sources: Params) -> dict[str, Part]:
    """The (anchor, positive) pairs of every source."""
    return pair_parts(parse_sources(sources), raw)


def collect_test_texts(raw: Path, tasks: Params) -> dict[str, Part]:
    """What training must not have seen, a part per task."""

    def part(name: str) -> Part:
        task = load_task(name, tasks[name], raw)
        rows = list(texts_of_task(task))
        return Part(key_of(rows=rows, code=code_digest("benchmark")), lambda: blocks(rows))

    return {name: part(name) for name in tasks}


def check_leaks(pairs: Table, passages: Table, test_texts: Table, settings: Params) -> dict[str, Part]:
    """The pairs that a test knows, a part per source."""

    def rows(source: str) -> Iterator[dict]:
        texts = passage_texts(passages, parts=[source])
        drafts = (
            {"pair_id": row["pair_id"], "anchor_text": texts[row["anchor"]], "positive_text": texts[row["positive"]]}
            for row in pairs.iter_rows([source], ["pair_id", "anchor", "positive"])
        )
        yield from find_leaks(drafts, test_texts.iter_rows(), **settings)

    def part(source: str) -> Part:
        key = key_of(
            pairs=pairs.digest([source]),
            tests=test_texts.digest(),
            settings=settings,
            code=code_digest("text", "benchmark"),
        )
        return Part(key, lambda: blocks(rows(source)))

    return {source: part(source) for source in pairs.parts()}


def profile(passages: Table, pairs: Table, leaks: Table) -> tuple[Frame, Figure]:
    """What each source holds, as a table and as a plot."""
    table = profile_tables(passages, pairs, leaks)
    return table, plot_profile(table)
