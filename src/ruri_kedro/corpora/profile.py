"""What a corpus holds, for people: a row per source, and a plot."""

from collections import Counter
from collections.abc import Mapping
from itertools import groupby
from operator import itemgetter
from typing import TYPE_CHECKING

import numpy as np

from ruri_kedro.corpora.source import Source
from ruri_kedro.tables import Table

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure


def profile_tables(
    passages: Table, pairs: Table, leaks: Table, inconsistent: Table, sources: Mapping[str, Source] | None = None
) -> "pd.DataFrame":
    """One row per source: passages and their characters, pairs by split, pairs that are left out or only reported.

    Column expected_rows has the paper's count of examples by stage, where the recipe gives it, to be read beside
    train_pairs. Columns chars_median and chars_p95 are characters per passage, text only.
    """
    import pandas as pd

    rows = []
    for source in passages.parts():
        row = {"source": source, "passages": passages.rows(source), **_characters(passages, source)}
        if source in pairs.parts():
            row |= _pairs(pairs, source)
            row |= _leaked(leaks, source)
            row["inconsistent"] = inconsistent.rows(source) if source in inconsistent.parts() else 0
        rows.append(row | {"expected_rows": _expected(sources[source]) if source in (sources or {}) else ""})
    of_pairs = ["train_pairs", "validation_pairs", "with_negatives", "leaks_removed", "leaks_reported", "inconsistent"]
    counts = ["passages", *of_pairs]
    table = pd.DataFrame(rows).reindex(columns=["source", *counts, "chars_median", "chars_p95", "expected_rows"])
    return table.fillna(0).astype(dict.fromkeys(counts, "int64"))


def _expected(source: Source) -> str:
    """The paper's counts by stage, such as `pretraining 697,405; finetuning 13,824`; a stage's rows are added up."""
    counts: dict[str, int] = {}
    for stage in source.stages:
        found = [row["expected_rows"] for row in source.rows_of(stage) if row.get("expected_rows")]
        counts |= {stage: sum(found)} if found else {}
    return "; ".join(f"{stage} {count:,}" for stage, count in counts.items())


def _characters(passages: Table, source: str) -> dict[str, float]:
    import pyarrow.compute as pc

    counts = np.zeros(1, dtype=np.int64)  # texts by their length
    for batch in passages.batches([source], ["text"]):
        found = np.bincount(pc.utf8_length(batch.column("text")).to_numpy(), minlength=len(counts))
        found[: len(counts)] += counts
        counts = found
    return {"chars_median": _quantile(counts, 0.5), "chars_p95": _quantile(counts, 0.95)}


def _quantile(counts: np.ndarray, share: float) -> float:
    """The quantile of whole numbers of which i occurs `counts[i]` times, as `np.quantile`; 0 where there are none."""
    if not counts.any():
        return 0.0
    place = share * (counts.sum() - 1)
    low, high = np.searchsorted(counts.cumsum(), [np.floor(place), np.ceil(place)], side="right")
    return float(low + (high - low) * (place % 1))


def _pairs(pairs: Table, source: str) -> dict[str, int]:
    import pyarrow.compute as pc

    found = Counter({"train": 0, "validation": 0, "with_negatives": 0})
    for batch in pairs.batches([source], ["split", "given_negatives"]):
        for split in ("train", "validation"):
            found[split] += pc.equal(batch.column("split"), split).true_count
        found["with_negatives"] += pc.greater(pc.list_value_length(batch.column("given_negatives")), 0).true_count
    return {
        "train_pairs": found["train"],
        "validation_pairs": found["validation"],
        "with_negatives": found["with_negatives"],
    }


def _leaked(leaks: Table, source: str) -> dict[str, int]:
    """Pairs, whose rows stand one after the other."""
    found = Counter({True: 0, False: 0})
    for _, rows in groupby(leaks.iter_rows([source], ["pair_id", "removed"]), key=itemgetter("pair_id")):
        found[any(row["removed"] for row in rows)] += 1
    return {"leaks_removed": found[True], "leaks_reported": found[False]}


def plot_profile(table: "pd.DataFrame") -> "Figure":
    """Bars per source: pairs and passages on the left, characters per passage on the right."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11, 1.5 + 0.45 * len(table)), layout="constrained")
    left, right = figure.subplots(1, 2, sharey=True)
    places = np.arange(len(table))
    left.barh(places - 0.2, table["train_pairs"] + table["validation_pairs"], 0.4, label="pairs", color="#4477aa")
    left.barh(places + 0.2, table["passages"], 0.4, label="passages", color="#ccbb44")
    right.barh(places - 0.2, table["chars_median"], 0.4, label="median", color="#228833")
    right.barh(places + 0.2, table["chars_p95"], 0.4, label="95th percentile", color="#bbccaa")
    left.set(yticks=places, yticklabels=table["source"], xlabel="rows", title="Rows per source")
    left.invert_yaxis()
    right.set(xlabel="characters", title="Characters per passage")
    for axes in (left, right):
        axes.legend(frameon=False)
        axes.spines[["top", "right"]].set_visible(False)
    return figure
