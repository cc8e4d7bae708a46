"""A comparison as one HTML page, with the queries that made the difference."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from ruri_kedro.benchmark.comparison import ALPHA, Comparison, PairedResult, changed_queries
from ruri_kedro.benchmark.comparison_text import MEAN_HEADER, RESULT_HEADER, mean_cells, measure_name, result_cells
from ruri_kedro.benchmark.evaluate import RERANKING_SUFFIX

_TEMPLATE = "comparison.html"


@dataclass
class QueryTexts:
    """Texts of a query and of its positives."""

    query: str = ""
    positives: list[str] = field(default_factory=list)


Texts = Mapping[tuple[str, str], QueryTexts]  # (task, query_id)


def query_texts(comparison: Comparison, test_texts: Iterable[Mapping], count: int = 10) -> Texts:
    """Texts of the queries that `comparison_page` shows, from rows of TEST_TEXTS; unknown ones are left out.

    A reranking task has the queries of the task it is named after.
    """
    texts: dict[tuple[str, str], QueryTexts] = {}
    for result in comparison.results:
        for qids in changed_queries(comparison, result, count):
            texts |= {(_base_task(result), qid): QueryTexts() for qid in qids}
    for row in test_texts:
        shown = texts.get((row["test"], row["item_id"]))
        if shown is not None and row["role"] == "query":
            shown.query = row["text"]
        elif shown is not None and row["role"] == "positive":
            shown.positives.append(row["text"])
    return {key: found for key, found in texts.items() if found.query}


def comparison_page(comparison: Comparison, texts: Texts, count: int = 10) -> str:
    """A self-contained page: means, tests, and the up to `count` queries won and lost most, with their texts."""
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("ruri_kedro.benchmark", "."),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    bounds = [abs(bound) for result in comparison.results for bound in result.interval or ()]
    return environment.get_template(_TEMPLATE).render(
        comparison=comparison,
        alpha=ALPHA,
        measure_name=measure_name,
        mean_header=MEAN_HEADER,
        mean_rows=[mean_cells(summary) for summary in comparison.summaries],
        test_header=RESULT_HEADER,
        test_rows=[(result, result_cells(result)) for result in comparison.results],
        plot_range=max(bounds, default=0) or 1.0,
        sections=[_section(comparison, result, texts, count) for result in comparison.results],
    )


def _section(comparison: Comparison, result: PairedResult, texts: Texts, count: int) -> dict[str, Any]:
    won, lost = changed_queries(comparison, result, count)
    lists = {"Won most": won, "Lost most": lost}
    return {
        "result": result,
        "lists": {title: [_row(comparison, result, qid, texts) for qid in qids] for title, qids in lists.items()},
    }


def _row(comparison: Comparison, result: PairedResult, qid: str, texts: Texts) -> dict[str, Any]:
    old, new = (scores[result.task, result.metric][qid] for scores in _both(comparison, result))
    found = texts.get((_base_task(result), qid), QueryTexts())
    return {"qid": qid, "query": found.query, "positives": found.positives, "old": old, "new": new}


def _both(comparison: Comparison, result: PairedResult) -> tuple[Any, Any]:
    return comparison.scores[result.baseline], comparison.scores[result.model]


def _base_task(result: PairedResult) -> str:
    return result.task.removesuffix(RERANKING_SUFFIX)
