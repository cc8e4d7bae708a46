"""From raw corpora to passages and pairs, and what the benchmark knows of them."""

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path

from ruri_kedro.benchmark.leaks.contamination import find_leaks
from ruri_kedro.benchmark.leaks.matches import BenchmarkTexts, LeakRules, match_shards
from ruri_kedro.benchmark.leaks.report import choose_examples, leak_counts, leak_report
from ruri_kedro.benchmark.mteb.hub_tasks import (
    benchmark_texts,
    check_benchmarks,
    check_namesakes,
    check_tasks,
    fetch_rows,
)
from ruri_kedro.benchmark.tasks.load import test_texts as texts_of_task
from ruri_kedro.benchmark.tasks.specs import check_task_names
from ruri_kedro.benchmark.tasks.stored import hub_rows, store_task, stored_digest, stored_task, task_is_stored
from ruri_kedro.benchmark.tasks.types import by_type, task_types
from ruri_kedro.corpora.build import duplicate_parts, pair_parts, passage_parts
from ruri_kedro.corpora.profile import plot_profile, profile_tables
from ruri_kedro.corpora.rows import check_sources
from ruri_kedro.corpora.source import parse_sources, select_sources
from ruri_kedro.engines.engine import engine_of
from ruri_kedro.recipe.annotations import Figure, Frame, Params
from ruri_kedro.recipe.parse import parse
from ruri_kedro.tables import Part, ShardedPart, Table
from ruri_kedro.tables.code import behaviour_digest
from ruri_kedro.tables.lookup import passage_texts
from ruri_kedro.tables.store import blocks, key_of

_EXAMPLES = 3  # in the report, of each kind of leak


def find_near_duplicates(raw: Path, sources: Params, deduplication: Params, only: str | None = None) -> dict[str, Part]:
    """Positives and passages that are left out because an earlier one is nearly the same; among the sources of `only`.

    Raises DataError with a line per source that cannot be read, before any work is done.
    """
    chosen = select_sources(parse_sources(sources), only)
    check_sources(chosen, raw)
    return duplicate_parts(chosen, raw, deduplication)


def build_passages(
    raw: Path, sources: Params, duplicates: Table, only: str | None = None, engine: str = "local"
) -> dict[str, ShardedPart | None]:
    """Every text of every source, normalised, once. `only` names sources to build; the others stay as they are."""
    known = parse_sources(sources)
    return dict.fromkeys(known) | passage_parts(select_sources(known, only), raw, duplicates, engine_of(engine))


def build_pairs(
    raw: Path, sources: Params, duplicates: Table, only: str | None = None, engine: str = "local"
) -> dict[str, ShardedPart | None]:
    """The (anchor, positive) pairs of every source; `only` as in `build_passages`."""
    known = parse_sources(sources)
    with_pairs = (name for name, source in known.items() if source.kind != "collection")
    return dict.fromkeys(with_pairs) | pair_parts(select_sources(known, only), raw, duplicates, engine_of(engine))


@by_type("reading")
def read_tasks(raw: Path, tasks: Params, tested_on: Sequence[str] = ()) -> dict[str, Callable]:
    """Every task of the benchmark, read from its files or from the hub once.

    Raises RecipeError or DataError if one of mteb's benchmarks in `tested_on` cannot be had: passages are made later.
    """
    check_task_names(tasks)
    check_benchmarks(list(tested_on), tasks)

    def build(name: str, folder: Path) -> None:
        if hub_rows(tasks[name]) and not task_is_stored(name, tasks[name], raw, folder):
            check_tasks(tasks, raw, folder.parent)
        store_task(name, tasks[name], raw, folder, fetch_rows)

    return {name: partial(build, name) for name in tasks}


@by_type("reading")
def read_development(raw: Path, development: Params, tested_on: Sequence[str] = ()) -> dict[str, Callable]:
    """The tasks on which trainings choose their best weights and sweeps their best settings. No test is among them."""
    if development:
        check_namesakes("development", development, list(tested_on))
    return read_tasks(raw, development)


@by_type("collecting")
def collect_test_texts(
    test_sets: Path, development_sets: Path, tasks: Params, development: Params, tested_on: Sequence[str] = ()
) -> dict[str, Part]:
    """What training must not have seen, a part per task: tests, development data, mteb's benchmarks in `tested_on`.

    Weights and settings that are chosen on pairs that were trained on are not chosen.
    """

    def part(folder: Path, name: str, row: Params) -> Part:
        code = behaviour_digest(texts_of_task, stored_task, *task_types()[row["type"]].collecting)
        key = key_of(task=stored_digest(folder, name), code=code)
        return Part(key, lambda: blocks(texts_of_task(stored_task(folder, name))))

    own = ((test_sets, tasks), (development_sets, development))
    parts = {name: part(folder, name, row) for folder, rows in own for name, row in rows.items()}
    return parts | benchmark_texts(list(tested_on))


def match_tests(passages: Table, test_texts: Table, settings: Params) -> dict[str, ShardedPart]:
    """The texts that a test holds, whole, in part or edited, a part per source."""
    rules = parse(LeakRules, settings, "leaks")
    tests = BenchmarkTexts(test_texts.iter_rows, rules)

    def part(source: str) -> ShardedPart:
        key = key_of(
            passages=passages.digest([source]),
            tests=test_texts.digest(),
            settings=settings,
            code=behaviour_digest(match_tests),
        )
        return ShardedPart(key, lambda done: match_shards(passages.shards(source), tests, rules, len(done)))

    return {source: part(source) for source in passages.parts()}


def check_leaks(pairs: Table, matches: Table) -> dict[str, Part]:
    """The pairs that a test knows, a part per source."""

    def part(source: str) -> Part:
        columns = ["pair_id", "anchor", "positive", "given_negatives"]
        tables = [table.digest([source]) for table in (pairs, matches)]
        return Part(
            key_of(tables=tables, code=behaviour_digest(check_leaks)),
            lambda: blocks(find_leaks(pairs.iter_rows([source], columns), matches.iter_rows([source]))),
        )

    return {source: part(source) for source in pairs.parts()}


def report_leaks(passages: Table, pairs: Table, test_texts: Table, leaks: Table) -> tuple[Frame, str]:
    """Leaks by source, test set and kind, as a table and as a page with examples."""
    rows = {source: _Rows(leaks, source) for source in leaks.parts()}
    sizes = {source: pairs.rows(source) for source in rows}
    removed = {source: len({row["pair_id"] for row in rows[source] if row["removed"]}) for source in rows}
    counts = leak_counts(rows, sizes)
    examples = choose_examples(rows, _EXAMPLES)
    training = passage_texts(passages, {row["docid"] for row in examples})
    wanted = {(row["test"], _role(row), row["item_id"]) for row in examples}
    tests = {
        place: row["text"]
        for row in test_texts.iter_rows()
        if (place := (row["test"], row["role"], row["item_id"])) in wanted
    }
    shown = (
        row | {"training_text": training[row["docid"]], "test_text": tests[row["test"], _role(row), row["item_id"]]}
        for row in examples
    )
    return counts, leak_report(counts, removed, sizes, shown)


class _Rows:
    """The rows of a part, read again at each pass."""

    def __init__(self, table: Table, part: str) -> None:
        self._table, self._part = table, part

    def __iter__(self) -> Iterator[dict]:
        return self._table.iter_rows([self._part])


def _role(leak: dict) -> str:
    """The role of the test text that a leak's docid matches."""
    return "positive" if leak["role"] == "pair" else leak["role"]


def profile(passages: Table, pairs: Table, leaks: Table, inconsistent: Table, sources: Params) -> tuple[Frame, Figure]:
    """What each source holds, as a table and as a plot."""
    table = profile_tables(passages, pairs, leaks, inconsistent, parse_sources(sources))
    return table, plot_profile(table)
