"""A comparison as text for a terminal."""

from ruri_kedro.benchmark.comparing.comparison import ALPHA, Comparison, PairedResult, SeedSummary
from ruri_kedro.text.layout import aligned

MEAN_HEADER = ("model", "task", "mean", "deviation", "seeds")
RESULT_HEADER = ("model", "task", "queries", "difference", "95% interval", "p", "p (Holm)", "effect", "win/tie/loss")


def means_text(comparison: Comparison) -> str:
    """Each model's mean by task, with the deviation over its seeds."""
    return aligned([MEAN_HEADER, *map(mean_cells, comparison.summaries)])


def results_text(comparison: Comparison) -> str:
    """The tests; `*` stands where p (Holm) is at most alpha."""
    explained = (
        f"Against {comparison.baseline}, by paired randomisation tests; "
        f"* = p at most {ALPHA} after Holm's correction over {len(comparison.results)} tests"
    )
    return f"{explained}\n{aligned([RESULT_HEADER, *map(result_cells, comparison.results)])}"


def mean_cells(summary: SeedSummary) -> tuple[str, ...]:
    """A line below MEAN_HEADER."""
    deviation = "-" if summary.deviation is None else f"{summary.deviation:.4f}"
    return summary.model, measure_name(summary), f"{summary.mean:.4f}", deviation, str(summary.seeds)


def result_cells(result: PairedResult) -> tuple[str, ...]:
    """A line below RESULT_HEADER."""
    interval = "-" if result.interval is None else "[{:+.4f}, {:+.4f}]".format(*result.interval)
    return (
        result.model,
        measure_name(result),
        str(result.queries),
        f"{result.difference:+.4f}",
        interval,
        f"{result.p:.4f}",
        f"{result.p_holm:.4f}{'*' if result.found else ' '}",
        "-" if result.effect_size is None else f"{result.effect_size:+.3f}",
        f"{result.wins}/{result.ties}/{result.losses}",
    )


def measure_name(line: SeedSummary | PairedResult) -> str:
    """<task>/<metric>, or the metric where all is one task without a name."""
    return f"{line.task}/{line.metric}" if line.task else line.metric
