"""Tables of ablations in the paper's layout: a line per cell, a column per figure, mean and deviation over seeds.

Beside each line stand its differences to the cell that it is compared with, and what the paper found for the same two.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import TYPE_CHECKING, Any

from ruri_kedro.benchmark.comparing.significance import mean_and_deviation
from ruri_kedro.errors import RecipeError
from ruri_kedro.text.layout import markdown_table

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure


_STEPS = "steps/"
_PLOT = "ablations.png"  # beside the report
_NOTE = "In percent; ± is the standard deviation over the seeds."


@dataclass(frozen=True)
class Difference:
    """What a change does to one figure: the cell minus the one it is compared with, seed by seed."""

    mean: float
    deviation: float | None
    same_sign: bool  # in every seed


@dataclass(frozen=True)
class Line:
    """A cell with its figures by column, a value per seed."""

    cell: str
    label: str
    values: Mapping[str, tuple[float, ...]]
    differences: Mapping[str, Difference]  # by column; none for a cell that is compared with no other
    steps: Mapping[str, float]  # of its trainings, by <stage>/<objective>, mean over the seeds
    against: str | None  # label of the cell it is compared with
    paper: Mapping[str, tuple[float, ...]]  # by size, in percent
    paper_differences: tuple[float, ...]  # of all sizes and columns


@dataclass(frozen=True)
class AblationTable:
    """A table with its lines in order."""

    name: str
    title: str
    columns: tuple[str, ...]
    paper_columns: tuple[str, ...]
    lines: tuple[Line, ...]


def ablation_tables(
    scores: Mapping[str, Mapping[str, Mapping[str, Mapping[str, float]]]], settings: Mapping[str, Mapping[str, Any]]
) -> list[AblationTable]:
    """The tables of `settings` that have scores, which are {table: {cell: {seed: {task/metric: mean}}}}.

    Scores named `steps/...` are not scores but the steps of the cell's trainings.

    Raises RecipeError for a column that a cell has no score of.
    """
    return [_table(name, settings[name], cells) for name, cells in scores.items()]


def markdown(
    recipe: str, tables: Sequence[AblationTable], tests: Mapping[str, Sequence[Mapping[str, Any]]] | None = None
) -> str:
    """All tables, in percent, with mean and deviation over the seeds.

    tests: by table the rows of `item_tests` of its cells against those that they are compared with.
    """
    parts = [f"# Ablations of recipe {recipe}", f"![The figures of all cells]({_PLOT})", _NOTE]
    for table in tables:
        found = (tests or {}).get(table.name, ())
        parts += [f"## {table.title}", _figures(table), _differences(table), _tests(table, found), _steps(table)]
    return "\n\n".join(part for part in parts if part) + "\n"


def frame(tables: Sequence[AblationTable]) -> "pd.DataFrame":
    """A row per table, cell and column: mean and deviation, and the same of the difference; between 0 and 1."""
    import pandas as pd

    rows = []
    for table in tables:
        for line in table.lines:
            for column, values in line.values.items():
                mean, deviation = mean_and_deviation(values)
                change = line.differences.get(column)
                rows.append(
                    {"table": table.name, "cell": line.cell, "model": line.label, "figure": column, "mean": mean,
                     "deviation": deviation, "seeds": len(values), "against": line.against,
                     "difference": change and change.mean, "difference_deviation": change and change.deviation}
                )  # fmt: skip
    return pd.DataFrame(rows)


def plot(tables: Sequence[AblationTable]) -> "Figure":
    """A row of bars per table: a group per column, a colour per cell, the deviation over the seeds as whiskers."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 3.2 * len(tables)), layout="constrained")
    for axes, table in zip(figure.subplots(len(tables), 1, squeeze=False)[:, 0], tables, strict=True):
        width = 0.8 / len(table.lines)
        for number, line in enumerate(table.lines):
            places = [group + (number - (len(table.lines) - 1) / 2) * width for group in range(len(table.columns))]
            pairs = [mean_and_deviation(line.values[column]) for column in table.columns]
            bars = axes.bar(places, [100 * mean for mean, _ in pairs], 0.9 * width, label=line.label,
                            yerr=[100 * (deviation or 0) for _, deviation in pairs], capsize=3)  # fmt: skip
            axes.bar_label(bars, fmt="%.1f", padding=2, fontsize=8)
        axes.set_xticks(range(len(table.columns)), [column.replace("/", "\n") for column in table.columns])
        axes.set_title(table.title, loc="left")
        axes.margins(y=0.15)
        axes.spines[["top", "right"]].set_visible(False)
        axes.legend(loc="center left", bbox_to_anchor=(1.01, 0.5), frameon=False, fontsize=8)
    return figure


def _table(
    name: str, settings: Mapping[str, Any], scores: Mapping[str, Mapping[str, Mapping[str, float]]]
) -> AblationTable:
    columns = tuple(settings["columns"])
    cells = {cell: settings["cells"][cell] for cell in scores}
    for cell, seeds in scores.items():
        for column in columns:
            if any(column not in means for means in seeds.values()):
                known = ", ".join(name for name in next(iter(seeds.values())) if not name.startswith(_STEPS))
                raise RecipeError(
                    f"ablations.tables.{name}.columns: '{column}' is not a score of {cell}. It has: {known}."
                )
    values = {cell: {column: tuple(seeds[seed][column] for seed in sorted(seeds)) for column in columns}
              for cell, seeds in scores.items()}  # fmt: skip
    lines = [_line(cell, row, cells, values, _mean_steps(scores[cell])) for cell, row in cells.items()]
    return AblationTable(name, settings["title"], columns, tuple(settings.get("paper_columns", ())), tuple(lines))


def _mean_steps(seeds: Mapping[str, Mapping[str, float]]) -> dict[str, float]:
    """Steps by <stage>/<objective>, mean over the seeds."""
    names = sorted({name for means in seeds.values() for name in means if name.startswith(_STEPS)})
    return {name.removeprefix(_STEPS): fmean(means.get(name, 0) for means in seeds.values()) for name in names}


def _line(
    cell: str, row: Mapping[str, Any], cells: Mapping[str, Mapping[str, Any]], values: Mapping, steps: Mapping
) -> Line:
    paper = {size: tuple(figures) for size, figures in row.get("paper", {}).items()}
    against = row.get("against")
    if against not in cells:  # there is none, or the recipe does not train its model
        return Line(cell, row["label"], values[cell], {}, steps, None, paper, ())
    base = cells[against]
    changes = {column: _difference(own, values[against][column]) for column, own in values[cell].items()}
    found = [own - other
             for size, figures in paper.items() if size in base.get("paper", {})
             for own, other in zip(figures, base["paper"][size], strict=True)]  # fmt: skip
    return Line(cell, row["label"], values[cell], changes, steps, base["label"], paper, tuple(found))


def _difference(own: Sequence[float], other: Sequence[float]) -> Difference:
    changes = [one - two for one, two in zip(own, other, strict=True)]
    mean, deviation = mean_and_deviation(changes)
    return Difference(mean, deviation, all(c > 0 for c in changes) or all(c < 0 for c in changes))


def _figures(table: AblationTable) -> str:
    rows = [[line.label, *(_with_deviation(*mean_and_deviation(line.values[column]), "") for column in table.columns)]
            for line in table.lines]  # fmt: skip
    rows += [
        [f"paper, {size}: {line.label}", *(["-"] * len(table.columns)), *(f"{figure:.1f}" for figure in figures)]
        for size in dict.fromkeys(size for line in table.lines for size in line.paper)
        for line in table.lines
        if (figures := line.paper.get(size))
    ]
    header = ["Model", *table.columns, *(f"{name} (paper)" for name in table.paper_columns)]
    return markdown_table(header, [row + ["-"] * (len(header) - len(row)) for row in rows], left=1)


def _differences(table: AblationTable) -> str:
    rows = []
    for line in table.lines:
        if line.against is None:
            continue
        changes = [_with_deviation(change.mean, change.deviation, "+") + ("" if change.same_sign else " (mixed)")
                   for change in line.differences.values()]  # fmt: skip
        rows.append([f"{line.label} − {line.against}", *changes, _verdict(line)])
    if not rows:
        return ""
    note = "Differences; mixed: not of one sign in all seeds."
    return f"{note}\n\n{markdown_table(['', *table.columns, 'as in the paper?'], rows, left=1)}"


def _tests(table: AblationTable, tests: Sequence[Mapping[str, Any]]) -> str:
    """The tests of the columns' tasks by items, a line for each pair of cells."""
    tasks = {column.rpartition("/")[0] for column in table.columns}
    shown = [row for row in tests if row["task"] in tasks]
    columns = list(dict.fromkeys(f"{row['task']}/{row['metric']}" for row in shown))
    labels = {line.cell: line.label for line in table.lines}
    found: dict[tuple[str, str], dict[str, str]] = {}
    for row in shown:
        text = f"{100 * row['difference']:+.2f} (p {row['p']:.4f})"
        found.setdefault((row["one"], row["other"]), {})[f"{row['task']}/{row['metric']}"] = text
    rows = [[f"{labels[one]} − {labels[other]}", *(texts.get(column, "-") for column in columns)]
            for (one, other), texts in found.items()]  # fmt: skip
    if not rows:
        return ""
    note = "Differences tested by queries, texts or pairs of sentences: mean over the seeds, randomisation test, Holm."
    return f"{note}\n\n{markdown_table(['', *columns], rows, left=1)}"


def _steps(table: AblationTable) -> str:
    """What each model was trained with: the steps of its trainings by objective."""
    names = list(dict.fromkeys(name for line in table.lines for name in line.steps))
    if not names:
        return ""
    rows = [[line.label, *(f"{line.steps[name]:,.0f}" if name in line.steps else "-" for name in names)]
            for line in table.lines]  # fmt: skip
    table = markdown_table(["Model", *names], rows, left=1)
    return f"Steps of the trainings behind each model, by stage and objective.\n\n{table}"


def _verdict(line: Line) -> str:
    """Whether more figures than not differ as the paper's do in the mean; no mean over figures of unlike metrics."""
    if not line.paper_differences:
        return "not in the paper"
    paper, changes = fmean(line.paper_differences), list(line.differences.values())
    means = [round(change.mean, 9) for change in changes]  # 0 but for rounding is neither
    same, other = (sum(sign * mean * paper > 0 for mean in means) for sign in (1, -1))
    answer = "yes" if same > other else "no" if other > same else "as often as not" if same else "no difference"
    if same + other and not any(change.same_sign for change in changes):
        answer += ", but not in every seed"
    published = line.paper_differences
    agreeing = sum(change * paper > 0 for change in published)
    return (
        f"{answer}: {'lower' if paper < 0 else 'higher'} in {same} of {len(changes)} figures here, in {agreeing} of "
        f"{len(published)} of the paper's ({paper:+.1f} in the mean)"
    )


def _with_deviation(mean: float, deviation: float | None, sign: str) -> str:
    text = f"{100 * mean:{sign}.2f}"
    return text if deviation is None else f"{text} ± {100 * deviation:.2f}"
