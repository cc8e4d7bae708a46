"""What was found of the tests in the training data, for people: counts, and examples to read."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from difflib import SequenceMatcher
from typing import TYPE_CHECKING

from ruri_kedro.text.layout import markdown_table

if TYPE_CHECKING:
    import pandas as pd

_GROUP = ("source", "test", "kind", "part", "role")
_EXCERPT = 120  # characters
_BEFORE = 15  # characters shown in front of what two texts share


def leak_counts(leaks: Mapping[str, Iterable[Mapping]], pairs: Mapping[str, int]) -> "pd.DataFrame":
    """Pairs with a leak by source, test set, kind, part of the pair and role of the test text.

    `leaks`: rows of LEAKS by source; `pairs`: how many the source has. Columns `removed` and `reported` count pairs,
    `removed_share` is of the source's pairs. A pair with leaks of several kinds counts in several rows.
    """
    import pandas as pd

    counts: Counter[tuple] = Counter(
        (source, row["test"], row["kind"], row["part"], row["role"], row["removed"])
        for source, rows in leaks.items()
        for row in rows
    )
    table = []
    for (*group, is_removed), count in sorted(counts.items()):
        removed = count if is_removed else 0
        numbers = {"removed": removed, "reported": count - removed, "removed_share": removed / pairs[group[0]]}
        table.append(dict(zip(_GROUP, group, strict=True)) | numbers)
    return pd.DataFrame(table, columns=[*_GROUP, "removed", "reported", "removed_share"])


def choose_examples(leaks: Mapping[str, Iterable[Mapping]], count: int) -> list[dict]:
    """The first `count` leaks with different texts of each group of `leak_counts`, with their source, by group."""
    chosen: dict[tuple, dict[tuple, dict]] = {}
    for source, rows in leaks.items():
        for row in rows:
            group = chosen.setdefault((source, row["test"], row["kind"], row["part"], row["role"]), {})
            if len(group) < count:
                group.setdefault((row["docid"], row["item_id"]), {**row, "source": source})
    return [row for group in sorted(chosen) for row in chosen[group].values()]


def leak_report(
    counts: "pd.DataFrame", removed: Mapping[str, int], pairs: Mapping[str, int], examples: Iterable[Mapping]
) -> str:
    """A Markdown page: pairs removed by source, the counts, and the examples side by side.

    `removed` and `pairs`: pairs by source, each counted once; `examples`: rows of `choose_examples` with their
    `training_text` and `test_text`.
    """
    sources = [[source, f"{pairs[source]:,}", f"{removed[source]:,}", _share(removed[source], pairs[source])]
               for source in pairs]  # fmt: skip
    lines = ["# Leaks", "", markdown_table(("source", "pairs", "removed", "share"), sources), ""]
    if len(counts):
        columns = (*_GROUP, "removed", "reported")
        rows = ([row[name] for name in columns] for row in counts.to_dict("records"))
        lines += ["## By test set and kind", "", markdown_table(columns, rows), ""]
        lines += ["## Examples", "", *_examples(examples)]
    return "\n".join(lines)


def _examples(examples: Iterable[Mapping]) -> Iterator[str]:
    group: tuple = ()
    for row in examples:
        if group != (group := tuple(row[name] for name in _GROUP)):
            source, test, kind, part, role = group
            fate = "removed" if row["removed"] else "reported"
            yield f"### {source}, {test}: {part} {kind} {role} ({fate})\n"
        training, test_text = excerpts(row["training_text"], row["test_text"])
        yield f"- overlap {row['overlap']:.2f}, pair `{row['pair_id']}`, item `{row['item_id']}`"
        yield f"  - training: {_escape(training)}"
        yield f"  - test: {_escape(test_text)}\n"


def excerpts(first: str, second: str) -> tuple[str, str]:
    """Both texts, cut to where they begin to share the longest run of characters."""
    run = SequenceMatcher(None, first, second, autojunk=False).find_longest_match()
    return _cut(first, run.a), _cut(second, run.b)


def _cut(text: str, place: int) -> str:
    start = max(0, min(place - _BEFORE, len(text) - _EXCERPT))
    end = start + _EXCERPT
    return ("…" if start else "") + text[start:end] + ("…" if end < len(text) else "")


def _share(count: int, total: int) -> str:
    return f"{count / total:.2%}" if total else "-"


def _escape(text: str) -> str:
    """The text as Markdown shows it letter by letter."""
    return "".join("\\" + char if char in "\\`*_{}[]<>#|!~" else char for char in text)
