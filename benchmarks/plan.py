"""The plan of a training as large as the paper's: time, memory, what is dropped, what continuing costs.

    python benchmarks/plan.py            # the 88.7M rows of Table 1 in batches of 8,192
    python benchmarks/plan.py --quick    # 1M rows in the same proportions

One JSON line per figure; `limit` is what the figure should stay under. Checks the plan itself on the way.
"""

import argparse
import tempfile
import time
from pathlib import Path

import numpy as np
from figures import alone, peak_memory, say

from ruri_kedro.training.plan import Plan, plan_batches, stored_plan

# Ruri, Table 1
SOURCES = {
    "wikipedia_1p": 19_361_464,
    "wikipedia_3p": 10_010_462,
    "wikipedia_long": 7_889_486,
    "wiktionary": 697_405,
    "wikibooks": 314_207,
    "mqa": 25_165_824,
    "cc_news_long": 6_248_336,
    "cc_news_short": 2_795_632,
    "autowikiqa_mx": 11_563_562,
    "autowikiqa_nemo": 495_062,
    "jrc": 131_072,
    "wiki_atomic_edits": 3_679_939,
    "autowikinli": 203_147,
    "jsnli": 180_146,
}
FULL, QUICK, PEER_ROWS = sum(SOURCES.values()), 1_000_000, 100_000
BATCH, SEED, SAMPLED = 8192, 42, 1000


def write_rows(folder: Path, rows: int) -> None:
    """`groups.npy` (rows,) and `texts.npy` (rows, 3) of that many rows in Table 1's proportions.

    Two rows share an anchor on average, a row's negative is another's positive, and one negative in a hundred is one
    of a few passages that fit many queries.
    """
    sizes = [round(size * rows / FULL) for size in SOURCES.values()]
    groups = np.lib.format.open_memmap(folder / "groups.npy", "w+", np.int64, (sum(sizes),))
    texts = np.lib.format.open_memmap(folder / "texts.npy", "w+", np.int32, (sum(sizes), 3))
    rng = np.random.default_rng(SEED)
    start = 0
    for group, size in enumerate(sizes):
        part = slice(start, start + size)
        groups[part] = group
        first_positive = 2 * start + size
        texts[part, 0] = 2 * start + rng.integers(0, max(size // 2, 1), size)
        texts[part, 1] = first_positive + np.arange(size)
        popular = rng.random(size) < 0.01
        texts[part, 2] = first_positive + np.where(
            popular, rng.integers(0, size // 10_000 + 1, size), rng.integers(0, size, size)
        )
        start += size


def open_rows(folder: Path) -> tuple[np.ndarray, np.ndarray]:
    return np.load(folder / "groups.npy", mmap_mode="r"), np.load(folder / "texts.npy", mmap_mode="r")


def make_plan(folder: Path) -> dict[str, float]:
    """Plan and save; seconds and GiB of this process at most, mapped files among them."""
    began = time.perf_counter()
    stored_plan(folder / "plan", "key", lambda: plan_batches(*open_rows(folder), BATCH, 1, True, SEED))
    return {
        "seconds": time.perf_counter() - began,
        "memory": peak_memory(),
    }


def continue_plan(folder: Path) -> dict[str, float]:
    """Open the plan and take its last batch, or its first."""

    def refuse() -> Plan:
        raise RuntimeError(f"{folder / 'plan'} was to be opened, not made")

    def seconds(index: int) -> float:
        began = time.perf_counter()
        stored_plan(folder / "plan", "key", refuse)[index]
        return time.perf_counter() - began

    return {"last": seconds(-1), "first": seconds(0)}


def check_plan(folder: Path) -> dict[str, float]:
    """Repeated texts in a sample of batches, rows used twice, and the share of rows dropped, in percent."""
    plan, (groups, texts) = Plan.open(folder / "plan"), open_rows(folder)
    repeats = 0
    for index in np.random.default_rng(SEED).choice(len(plan), min(SAMPLED, len(plan)), replace=False):
        batch = plan[index]
        own = texts[batch.rows]
        alone = sum(len(set(row)) for row in own.tolist())
        repeats += alone - len(np.unique(own)) + int((groups[batch.rows] != batch.group).sum())
    used = np.zeros(len(groups), bool)
    used[plan.rows] = True
    return {
        "repeats": repeats,
        "twice": len(plan.rows) - int(used.sum()),
        "dropped": 100 * len(plan.dropped) / len(groups),
        "unlisted": len(groups) - len(plan.rows) - len(plan.dropped),
    }


def compare(rows: int) -> dict[str, float]:
    """Rows per second of one source, here and by the sampler of sentence-transformers with hashes made before."""
    from datasets import Dataset, disable_progress_bars
    from sentence_transformers.base.sampler import NoDuplicatesBatchSampler

    disable_progress_bars()
    rng = np.random.default_rng(SEED)
    anchors, negatives = rng.integers(0, rows // 2, rows), rng.integers(0, rows, rows)
    texts = np.column_stack([anchors, rows + np.arange(rows), rows + negatives]).astype(np.int32)
    columns = {name: texts[:, i].astype(str).tolist() for i, name in enumerate(("anchor", "positive", "negative"))}
    sampler = NoDuplicatesBatchSampler(
        Dataset.from_dict(columns), BATCH, True, seed=SEED, precompute_hashes=True, precompute_num_proc=1
    )
    next(iter(sampler))  # makes the hashes
    began = time.perf_counter()
    plan_batches(np.zeros(rows, np.int64), texts, BATCH, 1, True, SEED)
    middle = time.perf_counter()
    for _ in sampler:
        pass
    return {"ours": rows / (middle - began), "peer": rows / (time.perf_counter() - middle)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=FULL)
    parser.add_argument("--quick", action="store_true", help=f"{QUICK} rows")
    parser.add_argument("--folder", type=Path, help="where rows and plan are written; 3 GB for all rows")
    options = parser.parse_args()
    rows = QUICK if options.quick else options.rows
    with tempfile.TemporaryDirectory(dir=options.folder) as name:
        folder = Path(name)
        alone(write_rows, folder, rows)
        made, opened, found = (alone(step, folder) for step in (make_plan, continue_plan, check_plan))
    peer = alone(compare, min(rows, PEER_ROWS))
    of = f"{rows} rows, batch {BATCH}"
    at_full_size = rows >= FULL
    say("plan", f"make and save, {of}", made["seconds"], 300 if at_full_size else None, "s")
    say("plan", f"memory, {of}", made["memory"], 4, "GiB")
    say("plan", f"continue at the last step, {of}", opened["last"], 2, "s")
    say("plan", f"continue at the first step, {of}", opened["first"], 2, "s")
    say("plan", f"repeated texts in {SAMPLED} batches, {of}", found["repeats"], 0, "texts")
    say("plan", f"used twice, {of}", found["twice"], 0, "rows")
    say("plan", f"dropped, {of}", found["dropped"], 0.1 if at_full_size else None, "%")
    say("plan", f"dropped and not listed, {of}", found["unlisted"], 0, "rows")
    say(
        "plan",
        f"speed, {min(rows, PEER_ROWS)} rows, batch {BATCH}",
        peer["ours"],
        None,
        "rows/s",
        round(peer["peer"], 1),
    )


if __name__ == "__main__":
    main()
