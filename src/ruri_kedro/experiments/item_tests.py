"""Models against each other on the items of each test: its queries, its texts or its pairs of sentences."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from ruri_kedro.benchmark.comparing.comparison import Scores, has_queries, mean_over_seeds, tested_measures
from ruri_kedro.benchmark.comparing.significance import holm, randomisation_test


def item_tests(models: Mapping[str, Sequence[Scores]], pairs: Iterable[tuple[str, str]]) -> list[dict[str, Any]]:
    """A row for each test that both models of a pair have scores by item of: (one, other) is `one` minus `other`.

    models: by name the scores of each seed. An item's score is its mean over the seeds, a test's metric that of
    `tested_measures` with scores by item. p is that of a paired randomisation test over the items, adjusted by Holm
    over all rows; a model without any seed is left out.
    """
    means = {name: _mean_scores(name, seeds) for name, seeds in models.items() if seeds}
    rows, p_values = [], []
    for one, other in pairs:
        for measure in means.get(one, {}):
            first, second = means[one][measure], means.get(other, {}).get(measure, {})
            if first.keys() != second.keys():
                continue
            differences = np.array([first[item] - second[item] for item in first])
            rows.append({"one": one, "other": other, "task": measure[0], "metric": measure[1],
                         "items": len(differences), "difference": float(differences.mean())})  # fmt: skip
            p_values.append(float(randomisation_test(differences)))
    return [{**row, "p": p} for row, p in zip(rows, holm(p_values), strict=True)]


def _mean_scores(name: str, seeds: Sequence[Scores]) -> Scores:
    """The mean over seeds of each item of the measures that can be tested."""
    wanted = [measure for measure in tested_measures(seeds[0]) if has_queries(seeds[0][measure])]
    return mean_over_seeds(name, [{measure: scores[measure] for measure in wanted} for scores in seeds])
