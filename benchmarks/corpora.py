"""data_engineering at size: rows per second, memory and disk of each step, on a made-up corpus of paragraphs.

    python benchmarks/corpora.py            # 10k, 100k and 1M rows, median of three
    python benchmarks/corpora.py --quick    # 10k and 50k rows, once

Each step runs in a process of its own. One JSON line per figure, then a table; `limit` is what a figure should stay
under. Lengths, scripts and the share of texts to normalise are those of Japanese Wikipedia, with 200 characters a
paragraph.
"""

import argparse
import gzip
import json
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from statistics import median

import numpy as np
import yaml
from figures import alone, peak_memory, say

from ruri_kedro.benchmark.leaks.matches import BenchmarkTexts, LeakRules, match_shards
from ruri_kedro.corpora.build import duplicate_parts, pair_parts, passage_parts
from ruri_kedro.corpora.source import parse_sources
from ruri_kedro.recipe.parse import parse
from ruri_kedro.tables import SCHEMAS, AnyPart, Part, ShardedPart, Table, write_table
from ruri_kedro.tables.store import blocks

ROWS, QUICK_ROWS = [10_000, 100_000, 1_000_000], [10_000, 50_000]
FILE_ROWS, BLOCK, SEED = 100_000, 1000, 42
TESTS = 5000  # texts of a benchmark, whatever the size of the corpus
SORTED_MB = 16  # of the near-duplicate search: filled at 100k rows, so that what else may grow shows
PARAMETERS = Path(__file__).resolve().parents[1] / "conf/base/parameters.yml"
SOURCES = {
    "paragraphs": {
        "kind": "title_to_text",
        "path": "paragraphs",
        "fields": {"title": "title", "section": "section"},
        "held_out": 0.01,
    }
}
PARTICLES = np.array("の は を に である する が と で とは や な した では から まで として により も".split())  # noqa: SIM905
SPECIAL = np.array(list("ＡＢＣ１２３①㈱㎞ｱｲｳ\u200b\u3000"))  # what NFKC changes, or what is invisible


class Writer:
    """Paragraphs of content words by Zipf's law, each followed by a particle."""

    def __init__(self, seed: int, words: int = 50_000) -> None:
        self._rng = np.random.default_rng(seed)
        self._words = _vocabulary(words)
        self._chances, self._particle_chances = (np.cumsum(1 / np.arange(1, n + 1)) for n in (words, len(PARTICLES)))

    def paragraphs(self, count: int) -> list[str]:
        """Texts of 200 characters on average, 45 at the 5th and 490 at the 95th percentile."""
        lengths = np.clip(self._rng.lognormal(np.log(160), 0.66, count), 20, 2000)
        sizes = np.maximum((lengths / 4.2).astype(int), 4)
        ends = np.cumsum(sizes)
        pieces = np.char.add(
            self._draw(self._words, self._chances, ends[-1]),
            self._draw(PARTICLES, self._particle_chances, ends[-1]),
        )
        pieces[3::8] = np.char.add(pieces[3::8], "、")
        pieces[7::8] = np.char.add(pieces[7::8], "。")
        return ["".join(pieces[end - size : end]) + "。" for size, end in zip(sizes, ends, strict=True)]

    def rows(self, count: int) -> Iterator[dict]:
        """Title, section and text, five paragraphs a title: 2% of the texts repeat an earlier one, 3% all but three of
        its characters, 15% are not in NFKC."""
        earlier = [""]
        for start in range(0, count, BLOCK):
            texts = self.paragraphs(min(BLOCK, count - start))
            titles = self._draw(self._words, self._chances, len(texts))
            for number, chance in enumerate(self._rng.random(len(texts))):
                if chance < 0.05:
                    texts[number] = earlier[self._rng.integers(len(earlier))]
                if 0.02 <= chance < 0.20:
                    texts[number] = self._edited(texts[number], SPECIAL if chance >= 0.05 else self._words)
                place = start + number
                title = f"{titles[number - number % 5]} {place // 5}"
                yield {"title": title, "section": f"第{place % 5 // 2}節", "text": texts[number] or "無。"}
            earlier = texts

    def _draw(self, values: np.ndarray, chances: np.ndarray, count: int) -> np.ndarray:
        return values[np.searchsorted(chances, self._rng.random(count) * chances[-1])]

    def _edited(self, text: str, pieces: np.ndarray) -> str:
        for place in self._rng.integers(0, max(len(text), 1), 3):
            text = text[:place] + str(self._rng.choice(pieces))[0] + text[place + 1 :]
        return text


def _vocabulary(count: int) -> np.ndarray:
    """Words of kanji, katakana or Latin letters; the same ones for every writer."""
    rng = np.random.default_rng(SEED)
    scripts = [(range(0x4E00, 0x4E00 + 2500), 1, 4), (range(0x30A1, 0x30F5), 2, 6), (range(0x61, 0x7B), 2, 5)]
    words = []
    for kind in rng.choice(3, count, p=[0.8, 0.15, 0.05]):
        letters, low, high = scripts[kind]
        codes = rng.integers(letters.start, letters.stop, rng.integers(low, high + 1))
        words.append("".join(map(chr, codes)))
    return np.array(words)


def write_corpus(folder: Path, rows: int) -> dict[str, float]:
    """`raw/paragraphs/*.jsonl.gz`, and a table of test texts: half of them stand in a corpus of this size."""
    raw = folder / "raw" / "paragraphs"
    raw.mkdir(parents=True)
    known: list[str] = []
    characters = 0
    stream = Writer(SEED).rows(rows)
    for number in range(0, rows, FILE_ROWS):
        with gzip.open(raw / f"{number // FILE_ROWS:05d}.jsonl.gz", "wt", compresslevel=1, encoding="utf-8") as file:
            for row in (next(stream) for _ in range(min(FILE_ROWS, rows - number))):
                characters += len(row["text"])
                if len(known) < TESTS // 2:
                    known.append(row["text"])
                file.write(json.dumps(row, ensure_ascii=False) + "\n")
    texts = [*known, *(row["text"] for row in Writer(SEED + 1).rows(TESTS - len(known)))]
    tests = [{"test": "t", "role": "text", "item_id": str(n), "text": text} for n, text in enumerate(texts)]
    write_table(folder / "test_texts", SCHEMAS["test_texts"], {"t": Part("t", lambda: blocks(tests))})
    return {"characters": characters / rows}


def find_duplicates(folder: Path) -> None:
    given = _parameters()["deduplication"] | {
        "threshold": 0.8,
        "scratch": str(folder / "scratch"),
        "memory_mb": SORTED_MB,
    }
    _write(folder, "duplicates", duplicate_parts(parse_sources(SOURCES), folder / "raw", given))


def build_passages(folder: Path) -> None:
    _write(folder, "passages", passage_parts(parse_sources(SOURCES), folder / "raw", _table(folder, "duplicates")))


def build_pairs(folder: Path) -> None:
    _write(folder, "pairs", pair_parts(parse_sources(SOURCES), folder / "raw", _table(folder, "duplicates")))


def match_tests(folder: Path) -> None:
    rules = parse(LeakRules, _parameters()["leaks"], "leaks")
    passages, tests = _table(folder, "passages"), BenchmarkTexts(_table(folder, "test_texts").iter_rows, rules)
    shards = passages.shards("paragraphs")
    part = ShardedPart("m", lambda done: match_shards(shards, tests, rules, len(done)))
    _write(folder, "matches", {"paragraphs": part})


STEPS: dict[str, Callable[[Path], None]] = {
    "duplicates": find_duplicates,
    "passages": build_passages,
    "pairs": build_pairs,
    "matches": match_tests,
}


def measure(step: str, folder: Path) -> dict[str, float]:
    """Seconds, GiB of memory at most and MB on disk of a step made anew."""
    shutil.rmtree(folder / step, ignore_errors=True)
    began = time.perf_counter()
    STEPS[step](folder)
    seconds = time.perf_counter() - began
    size = sum(file.stat().st_size for file in (folder / step).rglob("*") if file.is_file())
    return {"seconds": seconds, "memory": peak_memory(), "disk": size / 1e6}


def _write(folder: Path, name: str, parts: Mapping[str, AnyPart]) -> None:
    write_table(folder / name, SCHEMAS[name], parts)


def _table(folder: Path, name: str) -> Table:
    return Table(folder / name, SCHEMAS[name])


def _parameters() -> dict:
    return yaml.safe_load(PARAMETERS.read_text("utf-8"))


def measure_size(rows: int, repeat: int, parent: Path | None) -> dict[str, dict[str, float]]:
    """The median of each figure by step; the corpus is removed again."""
    with tempfile.TemporaryDirectory(dir=parent) as name:
        folder = Path(name)
        wrote = alone(write_corpus, folder, rows)
        say("corpora", f"characters a row, {rows} rows", wrote["characters"], None, "characters")
        found = {}
        for step in STEPS:
            runs = [alone(measure, step, folder) for _ in range(repeat)]
            found[step] = {figure: median(run[figure] for run in runs) for figure in runs[0]}
            say("corpora", f"{step}, {rows} rows", rows / found[step]["seconds"], None, "rows/s")
            say("corpora", f"{step}, {rows} rows", found[step]["memory"], 3, "GiB")
            say("corpora", f"{step}, {rows} rows", found[step]["disk"], None, "MB on disk")
    return found


def compare_sizes(found: dict[int, dict[str, dict[str, float]]]) -> None:
    """What the largest corpus costs for each row and in memory, against the next smaller one; then its whole time."""
    *_, smaller, larger = sorted(found)
    for step in STEPS:
        one, two = found[smaller][step], found[larger][step]
        of = f"{larger} rows against {smaller}"
        say("corpora", f"{step}: time per row, {of}", two["seconds"] / larger * smaller / one["seconds"], 1.2, "times")
        say("corpora", f"{step}: memory, {of}", two["memory"] / one["memory"], 1.2, "times")
    whole = sum(found[larger][step]["seconds"] for step in ("duplicates", "passages", "pairs"))
    say("corpora", f"normalise, pair and deduplicate, {larger} rows", whole, 600 if larger >= ROWS[-1] else None, "s")


def print_table(found: dict[int, dict[str, dict[str, float]]]) -> None:
    print("\n| rows | step | rows/s | GiB | MB on disk |\n|---:|---|---:|---:|---:|")
    for rows, steps in found.items():
        for step, cost in steps.items():
            print(f"| {rows:,} | {step} | {rows / cost['seconds']:,.0f} | {cost['memory']:.2f} | {cost['disk']:,.1f} |")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, nargs="+", default=ROWS)
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--quick", action="store_true", help=f"{QUICK_ROWS} rows, once")
    parser.add_argument("--folder", type=Path, help="where corpus and tables are written; 4 GB for 1M rows")
    options = parser.parse_args()
    sizes, repeat = (QUICK_ROWS, 1) if options.quick else (sorted(options.rows), options.repeat)
    found = {rows: measure_size(rows, repeat, options.folder) for rows in sizes}
    if len(found) > 1:
        compare_sizes(found)
    print_table(found)


if __name__ == "__main__":
    main()
