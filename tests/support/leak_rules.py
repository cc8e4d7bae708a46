"""The shipped rules of leaks, and a search for leaks in a few texts."""

from pathlib import Path

import yaml

from ruri_kedro.benchmark.leaks.contamination import find_leaks
from ruri_kedro.benchmark.leaks.matches import BenchmarkTexts, LeakRules, find_matches
from ruri_kedro.recipe.parse import parse

PARAMETERS = Path(__file__).resolve().parents[2] / "conf/base/parameters.yml"
SETTINGS = yaml.safe_load(PARAMETERS.read_text("utf-8"))["leaks"]
RULES = parse(LeakRules, SETTINGS, "leaks")

LONG = "青葉城は、慶長六年に築かれた山城である。本丸の石垣は三度の地震で崩れ、その都度積み直されて今日に至っている。"
EMBEDDED = "ある晩のこと、" + LONG + "そう語られてきた。"
EDITED = LONG.replace("慶長六年", "慶長八年").replace("三度", "四度")


def leaks_of(pairs: list[tuple[str, ...]], rows: list[dict]) -> list[dict]:
    """Leaks of (anchor, positive, *negatives), given as texts, with the ids '0', '1', ...; a text is its own docid.

    `rows` are rows of TEST_TEXTS.
    """
    texts = {text: None for pair in pairs for text in pair}
    tests = BenchmarkTexts(lambda: rows, RULES)
    matches = find_matches(lambda: ((text, text) for text in texts), tests, RULES.min_chars)
    named = [
        {"pair_id": str(number), "anchor": anchor, "positive": positive, "given_negatives": negatives}
        for number, (anchor, positive, *negatives) in enumerate(pairs)
    ]
    return list(find_leaks(named, matches))
