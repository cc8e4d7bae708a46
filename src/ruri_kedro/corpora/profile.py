"""What a corpus holds, for people: a row per source, and a plot."""

from typing import TYPE_CHECKING

import numpy as np

from ruri_kedro.tables import Table

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure


def profile_tables(passages: Table, pairs: Table, leaks: Table, inconsistent: Table) -> "pd.DataFrame":
    """One row per source: passages and their characters, pairs by split, pairs that are left out or only reported.

    Columns chars_median and chars_p95 are characters per passage, text only.
    """
    import pandas as pd

    rows = []
    for source in passages.parts():
        row = {"source": source, "passages": passages.rows(source), **_characters(passages, source)}
        if source in pairs.parts():
            row |= _pairs(pairs, source)
            found = leaks.read([source], ["pair_id", "removed"]).to_pylist()
            removed = {leak["pair_id"] for leak in found if leak["removed"]}
            reported = {leak["pair_id"] for leak in found} - removed
            row |= {"leaks_removed": len(removed), "leaks_reported": len(reported)}
            row["inconsistent"] = inconsistent.rows(source) if source in inconsistent.parts() else 0
        rows.append(row)
    of_pairs = ["train_pairs", "validation_pairs", "with_negatives", "leaks_removed", "leaks_reported", "inconsistent"]
    counts = ["passages", *of_pairs]
    table = pd.DataFrame(rows).reindex(columns=["source", *counts, "chars_median", "chars_p95"])
    return table.fillna(0).astype(dict.fromkeys(counts, "int64"))


def _characters(passages: Table, source: str) -> dict[str, float]:
    import pyarrow.compute as pc

    batches = passages.batches([source], ["text"])
    lengths = np.concatenate([pc.utf8_length(batch.column("text")).to_numpy() for batch in batches])
    return {"chars_median": float(np.median(lengths)), "chars_p95": float(np.percentile(lengths, 95))}


def _pairs(pairs: Table, source: str) -> dict[str, int]:
    columns = pairs.read([source], ["split", "given_negatives"]).to_pydict()
    return {
        "train_pairs": columns["split"].count("train"),
        "validation_pairs": columns["split"].count("validation"),
        "with_negatives": sum(bool(negatives) for negatives in columns["given_negatives"]),
    }


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
