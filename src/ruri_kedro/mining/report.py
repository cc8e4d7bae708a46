"""What a stage's negatives are like, by source: figures for a table, and a page with examples to read."""

import heapq
import statistics
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field

from ruri_kedro.mining.candidates import Candidates
from ruri_kedro.mining.examples import StageRecipe
from ruri_kedro.recipe.objectives import SEARCHED
from ruri_kedro.text.hashing import unit_interval
from ruri_kedro.text.normalize import match_key
from ruri_kedro.text.pages import render_page

Texts = Callable[[Collection[str]], Mapping[str, str]]

_SAMPLED = 200  # examples of a report whose texts are read
_SHOWN = 5
_BARS = 20


@dataclass(frozen=True)
class Figures:
    """One row of a source for a stage, in figures; shares lie between 0 and 1, ranks start at 1."""

    stage: str
    source: str
    negatives_from: str  # the strategy
    objective: str
    examples: int
    train_rows: int  # examples of training with shuffled copies
    expected_rows: int | None  # the same in the paper
    asked: int  # negatives per example
    negatives: int
    mined_positives: int
    too_few: float  # share of examples with fewer than asked
    none: float  # share of examples without any
    left_out: int  # given negatives that are a known positive, the anchor, a held-out passage, or a text once more
    filled: float  # share of the negatives that stand outside the window
    lowest_rank: int | None
    median_rank: float | None
    highest_rank: int | None
    overlap_with_positive: float | None  # Jaccard index of character bigrams, mean over sampled negatives
    overlap_with_query: float | None


@dataclass(frozen=True)
class ShownExample:
    """Texts of one example; a negative's rank is 0 where no search gave it."""

    query: str
    positive: str
    negatives: list[tuple[int, str]]


@dataclass(frozen=True)
class SourceReport:
    """Figures, how many negatives there are at each rank, and examples."""

    figures: Figures
    by_rank: Mapping[int, int] = field(default_factory=dict)
    shown: Sequence[ShownExample] = ()

    @property
    def what_was_done(self) -> str:
        """What became of the queries whose window had too few candidates."""
        figures = self.figures
        if figures.negatives_from not in SEARCHED:
            return "not searched: examples take what there is"
        if figures.filled:
            return f"ranks outside the window stand in: {figures.filled:.1%} of the negatives"
        return "nothing was missing" if not figures.too_few else "examples go without"

    @property
    def bars(self) -> list[tuple[str, int]]:
        """Negatives by rank, in at most 20 groups of equally many ranks."""
        if not self.by_rank:
            return []
        width = -(-max(self.by_rank) // _BARS)
        groups = Counter((rank - 1) // width for rank, count in self.by_rank.items() for _ in range(count))
        names = (f"{group * width + 1}-{(group + 1) * width}" for group in range(max(groups) + 1))
        return [(name, groups[group]) for group, name in enumerate(names)]


def report_source(
    source: str,
    recipe: StageRecipe,
    examples: Iterable[tuple[Mapping, Candidates | None]],
    mined: int,
    texts: Texts,
    expected_rows: int | None = None,
) -> SourceReport:
    """Report on the examples (rows of the table, each with its query's candidates) that a recipe made of a source.

    A row of given negatives has them as `given`, in their order. `mined` is how many pairs were found by an answer;
    `texts(docids)` gives texts by docid and is called once, for a sample of the examples that their ids decide.
    Examples are read once and not kept; shuffled copies are counted in `train_rows` only, beside `expected_rows`.
    """
    # One pass over the examples: counts of all, and a sample that their ids draw.
    window, ranks, lengths, left_out = recipe.rules.window, Counter(), Counter(), 0
    train_rows = 0
    sample: list[tuple[float, str, int, Mapping, list[int]]] = []
    for number, (row, candidates) in enumerate(examples):
        if row["objective"] != recipe.objective:
            continue
        train_rows += row["split"] == "train"
        if row["shuffled"]:
            continue
        places = _ranks(row, recipe, candidates)
        ranks.update(places)
        lengths[len(row["negatives"])] += 1
        left_out += _left_out(row, recipe.rules.n)
        # Two rows of a source with one objective make examples of the same ids: the number decides between those.
        item = (-unit_interval("report", row["example_id"]), row["example_id"], number, row, places)
        heapq.heappush(sample, item) if len(sample) < _SAMPLED else heapq.heappushpop(sample, item)

    # The texts of the sample, for the overlaps and for people to read.
    chosen = [(row, places) for *_, row, places in sorted(sample, key=lambda item: item[:3], reverse=True)]
    known = texts({docid for row, _ in chosen for docid in (row["anchor"], row["positive"], *row["negatives"])})

    # The figures of the source.
    count, negatives = lengths.total(), sum(length * times for length, times in lengths.items())
    outside = sum(times for rank, times in ranks.items() if not window.first <= rank <= window.last)
    figures = Figures(
        recipe.stage, source, recipe.strategy, recipe.objective, count, train_rows, expected_rows,
        recipe.rules.n, negatives, mined,
        too_few=sum(times for length, times in lengths.items() if length < recipe.rules.n) / max(count, 1),
        none=lengths[0] / max(count, 1),
        left_out=left_out,
        filled=outside / max(negatives, 1),
        lowest_rank=min(ranks, default=None),
        median_rank=float(statistics.median(ranks.elements())) if ranks else None,
        highest_rank=max(ranks, default=None),
        overlap_with_positive=_mean_overlap(chosen, known, "positive"),
        overlap_with_query=_mean_overlap(chosen, known, "anchor"),
    )  # fmt: skip
    return SourceReport(figures, dict(sorted(ranks.items())), [_shown(*item, known) for item in chosen[:_SHOWN]])


def rows_of(reports: Iterable[SourceReport]) -> list[dict]:
    """A row per report with its figures and what was done where there were too few."""
    return [asdict(report.figures) | {"done": report.what_was_done} for report in reports]


def mining_page(title: str, reports: Sequence[SourceReport]) -> str:
    """A self-contained page: the figures, and for each report its ranks and examples."""
    return render_page("ruri_kedro.mining", "report.html", title=title, reports=reports, rows=rows_of(reports))


def bigram_overlap(first: str, second: str) -> float:
    """Jaccard index of the character bigrams of two texts, compared by `match_key`; 0 where neither has one."""
    one, other = ({key[i : i + 2] for i in range(len(key) - 1)} for key in (match_key(first), match_key(second)))
    return len(one & other) / max(1, len(one | other))


def _ranks(row: Mapping, recipe: StageRecipe, candidates: Candidates | None) -> list[int]:
    """Rank of each negative in the ranking it was drawn from; none where there was no search."""
    if recipe.strategy not in SEARCHED or candidates is None:
        return []
    place = {docid: rank for rank, docid in enumerate(candidates.ranked(recipe.strategy), start=1)}
    return [place[docid] for docid in row["negatives"]]


def _left_out(row: Mapping, n: int) -> int:
    """How many of an example's given negatives were passed over before it had the `n` that are asked."""
    given, chosen = row.get("given", ()), row["negatives"]
    looked_at = given.index(chosen[-1]) + 1 if chosen and len(chosen) == n and given else len(given) if n else 0
    return max(0, looked_at - len(chosen))


def _mean_overlap(chosen: Sequence[tuple[Mapping, list[int]]], texts: Mapping[str, str], side: str) -> float | None:
    found = [bigram_overlap(texts[row[side]], texts[docid]) for row, _ in chosen for docid in row["negatives"]]
    return statistics.fmean(found) if found else None


def _shown(row: Mapping, ranks: list[int], texts: Mapping[str, str]) -> ShownExample:
    places = ranks or [0] * len(row["negatives"])
    negatives = sorted(zip(places, (texts[docid] for docid in row["negatives"]), strict=True))
    return ShownExample(texts[row["anchor"]], texts[row["positive"]], negatives)
