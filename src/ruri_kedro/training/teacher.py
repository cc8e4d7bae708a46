"""What the reranker says of the examples: scores to distil, and which positives it scores too low."""

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from ruri_kedro.errors import TrainingError
from ruri_kedro.recipe.objectives import TAUGHT, group_name
from ruri_kedro.text.hashing import digest_all, stable_id
from ruri_kedro.training.planning import refuse_untrained

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

SHARD_PAIRS = 16_384  # scored and written at a time: what a killed run loses at most


def pairs_to_score(examples: Iterable[Mapping]) -> dict[tuple[str, str], str]:
    """The anchor by (query_id, docid) of every positive and negative of the taught examples, each once."""
    return {
        (row["query_id"], docid): row["anchor"]
        for row in examples
        if row["objective"] in TAUGHT
        for docid in (row["positive"], *row["negatives"])
    }


def scores_digest(scores: Mapping[tuple[str, str], float]) -> str:
    """Digest of scores by (query_id, docid)."""
    return digest_all(stable_id(*pair, repr(score)) for pair, score in sorted(scores.items()))


def check_scores(pairs: Sequence[tuple[str, str]], scores: np.ndarray, precision: str) -> None:
    """Raises TrainingError if a score is not finite; pairs: (query_id, docid) by score."""
    bad = np.flatnonzero(~np.isfinite(scores))
    if len(bad):
        query_id, docid = pairs[bad[0]]
        remedy = "set finetuning.teacher_precision to bfloat16" if precision == "float16" else "look at its weights"
        raise TrainingError(
            f"the teacher's score of query {query_id} and passage {docid} is {scores[bad[0]]}, {len(bad)} of "
            f"{len(pairs)} scores are not finite: {remedy}."
        )


def sigmoid(logits: np.ndarray) -> np.ndarray:
    """1 / (1 + exp(-x)), elementwise."""
    return 1.0 / (1.0 + np.exp(-logits))


def believed(row: Mapping, scores: Mapping[tuple[str, str], float], threshold: float) -> bool:
    """Whether an example is kept: its positive's score reaches the threshold (Ruri, Section 4.1: 0.8).

    The threshold is on the sigmoid of the reranker's logit. Examples without a teacher's score, the contrastive
    ones, are kept.
    """
    if row["objective"] not in TAUGHT:
        return True
    return bool(sigmoid(np.float64(scores[row["query_id"], row["positive"]])) >= threshold)


def weak_positives(
    rows: Iterable[Mapping], scores: Mapping[tuple[str, str], float], threshold: float
) -> "pd.DataFrame":
    """The distilled `rows` that are not kept, one each, with the sigmoid of their positive's logit, lowest first."""
    import pandas as pd

    weak = [
        {
            "source": row["source"],
            "example_id": row["example_id"],
            "query_id": row["query_id"],
            "docid": row["positive"],
            "score": float(sigmoid(np.float64(scores[row["query_id"], row["positive"]]))),
        }
        for row in rows
        if not believed(row, scores, threshold)
    ]
    columns = ["source", "example_id", "query_id", "docid", "score"]
    return pd.DataFrame(weak, columns=columns).sort_values(["score", "example_id"], ignore_index=True)


def threshold_of(
    rows: Sequence[Mapping], scores: Mapping[tuple[str, str], float], threshold: float | None, keep_share: float
) -> float:
    """`threshold` where it is given, else the one that the best `keep_share` of the distilled `rows` reach.

    Listwise training leaves the level of a reranker's logits free, so that a number holds for one reranker only.
    """
    if threshold is not None or not rows:
        return threshold or 0.0
    positives = sigmoid(np.array([scores[row["query_id"], row["positive"]] for row in rows], dtype=np.float64))
    kept = max(1, round(keep_share * len(positives)))
    return float(np.sort(positives)[-kept])


def check_kept(kept: int, total: int, threshold: float, min_kept: float) -> None:
    """Raises TrainingError if a smaller share than `min_kept` of the distilled examples survives the threshold."""
    if total and kept < min_kept * total:
        raise TrainingError(
            f"only {kept} of {total} distilled examples have a positive that the teacher scores {threshold:.4g} or "
            f"more; finetuning.min_kept asks for {min_kept:.0%}. Listwise training leaves the level of the scores "
            "free: look at the plot teacher_scores and set finetuning.threshold, or train the reranker longer."
        )


def check_sources(rows: Sequence[Mapping], weak: "pd.DataFrame", threshold: float, allowed: bool) -> None:
    """Raises RecipeError if all distilled training `rows` of a source are `weak`; warns where that is `allowed`."""
    gone = set(weak["example_id"])
    groups = {(row["source"], row["objective"]) for row in rows if row["split"] == "train"}
    stay = [row for row in rows if row["split"] == "train" and row["example_id"] not in gone]
    kept = {(row["source"], row["objective"]) for row in stay}
    reason = f"the teacher scores none of its positives {threshold:.4g} or more (finetuning.threshold, keep_share)."
    faults = {group_name(group): reason for group in groups - kept}
    refuse_untrained(faults, len(groups & kept), "finetuning", allowed)


def plot_scores(positives: np.ndarray, negatives: np.ndarray, threshold: float) -> "Figure":
    """Histograms of the sigmoid of the teacher's logits for positives and negatives, with the threshold."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 4), layout="constrained")
    axes = figure.subplots()
    bins = np.linspace(0, 1, 41)
    for scores, label, colour in ((negatives, "negatives", "#ccbb44"), (positives, "positives", "#4477aa")):
        density = len(scores) > 0  # there is none of no scores
        axes.hist(
            sigmoid(scores), bins=bins, density=density, alpha=0.7, label=f"{label} ({len(scores)})", color=colour
        )
    axes.axvline(threshold, color="#ee6677", label=f"threshold {threshold:.4g}")
    axes.set(xlabel="sigmoid of the reranker's logit", ylabel="density", title="Teacher scores")
    axes.legend(frameon=False)
    axes.spines[["top", "right"]].set_visible(False)
    return figure
