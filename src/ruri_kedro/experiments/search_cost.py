"""What is left of a search before anything of it is spent: trials, hours, disk."""

from collections.abc import Sequence

from ruri_kedro.experiments.search import Search
from ruri_kedro.experiments.search_spaces import SearchSpace
from ruri_kedro.experiments.sweep_cost import Size, TrialStore, alike, size_of
from ruri_kedro.text.layout import aligned, duration


def search_size_text(spaces: Sequence[SearchSpace], search: Search, seeds: Sequence[int], trial: TrialStore) -> str:
    """What is done and what is left, as lines of text. Steps before the trainings are made in `trial`, not kept.

    A trial takes as long as one in the middle of the ranges. Of trials that are done only those count before which
    none is left.
    """
    settings, total = search.settings, len(spaces) * search.settings.trials
    sizes: dict[tuple, Size] = {}
    rows, seconds, disk, done = [], 0.0, 0.0, 0
    for space in spaces:
        run = search.plan_run(space.middle().with_all_tests(), search.seed)
        size = sizes.setdefault(alike(run), sizes.get(alike(run)) or size_of(run, trial))
        finished = search.done(space)
        left, each = settings.trials - finished, size.seconds + size.development_seconds
        chosen = each * (len(seeds) - 1) + len(seeds) * size.test_seconds  # trained with the first seed as a trial
        done, seconds = done + finished, seconds + left * each + chosen
        disk += (left + len(seeds) - 1) * size.model_gb
        rows.append((space.title, str(left), f"{size.steps:,}", duration(each), duration(chosen),
                     f"{size.memory_gb:.1f} GiB"))  # fmt: skip
    head = ("group", "trials left", "steps each", "trial each", "chosen cell", "memory")
    pruned = "" if settings.pruner.name == "none" else ", less what is pruned"
    said = [
        f"{total} trials by {settings.sampler}: {settings.trials} for each of {len(spaces)} groups. "
        f"Done: {done}. Left: {total - done}.",
        aligned([head, *rows], left=1).rstrip(),
        f"Together: about {duration(seconds)} one after the other{pruned}, about {disk:.1f} GiB of models. The chosen "
        f"cells, with {len(seeds)} seeds and all tests, are in it; what comes before the trainings is not.",
    ]
    return "\n".join(said)
