"""A comparison as one HTML page, with the queries that made the difference."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from ruri_kedro.benchmark.comparing.comparison import ALPHA, Comparison, PairedResult, changed_queries
from ruri_kedro.benchmark.comparing.text import MEAN_HEADER, RESULT_HEADER, mean_cells, measure_name, result_cells
from ruri_kedro.benchmark.tasks.specs import RERANKING_SUFFIX
from ruri_kedro.text.pages import render_page

_TEMPLATE = "comparison.html"


@dataclass
class QueryTexts:
    """Texts of a query, of its positives, and of the document that each model puts first."""

    query: str = ""
    positives: list[str] = field(default_factory=list)
    first: dict[str, str] = field(default_factory=dict)


Texts = Mapping[tuple[str, str], QueryTexts]  # (task, query_id)
First = Mapping[tuple[str, str], Mapping[str, str]]  # (model, task) -> query_id -> docid


def query_texts(
    comparison: Comparison, test_texts: Iterable[Mapping], first: First | None = None, count: int = 10
) -> Texts:
    """Texts of the queries that `comparison_page` shows, from rows of TEST_TEXTS; unknown ones are left out.

    `first` says which document a model puts first, where that is known. A reranking task has the texts of the task
    it is named after.
    """
    shown = {
        (result.task, qid): QueryTexts()
        for result in comparison.results
        for qids in changed_queries(comparison, result, count)
        for qid in qids
    }
    places = _places(shown, first or {})
    for row in test_texts:
        for texts, model in places.get((row["test"], row["role"], row["item_id"]), ()):
            if row["role"] == "query":
                texts.query = row["text"]
            elif row["role"] == "positive":
                texts.positives.append(row["text"])
            else:
                texts.first[model] = row["text"]
    return {key: texts for key, texts in shown.items() if texts.query}


def _places(shown: Texts, first: First) -> dict[tuple[str, str, str], list[tuple[QueryTexts, str]]]:
    """Where the text of a (test, role, item_id) belongs: the query, and the model that puts it first."""
    places: dict[tuple[str, str, str], list[tuple[QueryTexts, str]]] = {}
    for (task, qid), texts in shown.items():
        test = task.removesuffix(RERANKING_SUFFIX)
        for role in ("query", "positive"):
            places.setdefault((test, role, qid), []).append((texts, ""))
        for (model, searched), docids in first.items():
            if searched == task and qid in docids:
                places.setdefault((test, "passage", docids[qid]), []).append((texts, model))
    return places


def comparison_page(comparison: Comparison, texts: Texts, count: int = 10) -> str:
    """A self-contained page: means, tests, and the up to `count` queries won and lost most, with their texts."""
    bounds = [abs(bound) for result in comparison.results for bound in result.interval or ()]
    return render_page(
        "ruri_kedro.benchmark.comparing",
        _TEMPLATE,
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
    found = texts.get((result.task, qid), QueryTexts())
    sides = [
        {"score": comparison.scores[model][result.task, result.metric][qid], "first": found.first.get(model, "")}
        for model in (result.baseline, result.model)
    ]
    return {"qid": qid, "texts": found, "sides": sides}
