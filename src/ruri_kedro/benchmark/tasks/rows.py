"""What a row of the parameters `tasks` may say, by its type and shape: a class for each, its fields are the keys.

A class with defaults is the one place that has them: the keys of a task are the user's own, none stands in conf/base.
"""

from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from typing import Any, Literal

from ruri_kedro.errors import RecipeError
from ruri_kedro.recipe.parse import Count, parameters, parse, unknown

JudgedShape = Literal["queries", "passages", "topics"]  # of judged queries, see judged.py


@parameters
class HubRow:
    """A data set on the hub; `path` are files in it, without one it is read by splits."""

    id: str
    revision: str | None = None
    name: str | None = None
    split: str = "train"
    path: str | None = None


@parameters
class Place:
    """Where rows are: a path below the raw folder, or a data set on the hub."""

    path: str | None = None
    hub: HubRow | None = None

    def __post_init__(self) -> None:
        if self.path is None and self.hub is None:
            raise RecipeError("path: missing, and there is no hub either. One of them says where the rows are.")


@parameters
class MinedNegatives(Place):
    """The first `count` mined negatives of each query in a file."""

    count: Count


@parameters
class Sampled:
    """A sampled collection: `random` passages drawn with `seed`, or the mined negatives of the queries."""

    random: Count | None = None
    seed: int | None = None
    negatives: MinedNegatives | None = None

    def __post_init__(self) -> None:
        drawn = (self.random is not None, self.seed is not None)
        if drawn not in ((True, True), (False, False)) or all(drawn) == (self.negatives is not None):
            raise RecipeError("give either {random, seed} or {negatives: {path, count}}.")


@parameters
class Documents(Place):
    """The collection of a retrieval task."""

    shape: Literal["qa", "corpus", "articles"]
    sampled: Sampled | None = None


@parameters
class Candidates(Place):
    """The texts of candidates."""

    fields: Mapping[Literal["docid", "title", "text"], str] | None = None


@parameters
class Qa(Place):
    """Questions about paragraphs, which are the collection where no other is given."""

    type: Literal["retrieval"]
    shape: Literal["qa"]
    corpus: Documents | None = None


@parameters
class Judged(Place):
    """Judged queries and the collection that is searched."""

    type: Literal["retrieval"]
    shape: JudgedShape
    corpus: Documents


@parameters
class Pairs(Place):
    """A row per query and candidate."""

    type: Literal["reranking"]
    shape: Literal["pairs"]
    fields: Mapping[Literal["qid", "query", "docid", "title", "text", "label"], str] | None = None


@parameters
class Lists(Place):
    """A row per query with its positives and negatives."""

    type: Literal["reranking"]
    shape: Literal["lists"]
    corpus: Candidates
    fields: Mapping[Literal["qid", "query", "positives", "negatives"], str] | None = None


@parameters
class Grades(Place):
    """A row per query with its candidates and their grades."""

    type: Literal["reranking"]
    shape: Literal["grades"]
    corpus: Candidates
    fields: Mapping[Literal["qid", "query", "docids", "grades"], str] | None = None


@parameters
class Mined(Place):
    """Judged queries, each with its positives and its first mined negatives."""

    type: Literal["reranking"]
    shape: Literal["mined"]
    queries: JudgedShape
    negatives: MinedNegatives
    corpus: Candidates


@parameters
class Sts(Place):
    """Pairs of texts with scores."""

    type: Literal["sts"]
    fields: Mapping[Literal["text1", "text2", "score"], str] | None = None


@parameters
class Pair(Place):
    """Pairs of texts with labels, of which the `positive` ones say that the texts belong together."""

    type: Literal["pair"]
    positive: tuple[str | int | bool, ...]
    fields: Mapping[Literal["text1", "text2", "label"], str] | None = None


@parameters
class Bitext(Place):
    """Pairs of texts of which one is the translation of the other."""

    type: Literal["bitext"]
    fields: Mapping[Literal["text1", "text2"], str] | None = None


def _check_text(fields: Mapping[str, Any] | None) -> None:
    """Labels have one field; a text may be a list of one or more, which are joined."""
    for name, given in (fields or {}).items():
        if not given or (name != "text" and not isinstance(given, str)):
            raise RecipeError(f"fields.{name}: the name of a field is expected, or for `text` a list of one or more.")


@parameters
class Classification(Place):
    """Texts with labels, to learn from and to be tested on."""

    type: Literal["classification"]
    train: str
    fields: Mapping[Literal["text", "label"], str | tuple[str, ...]] | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        _check_text(self.fields)


@parameters
class Multilabel(Place):
    """Texts with lists of labels, to learn from and to be tested on."""

    type: Literal["multilabel"]
    train: str
    fields: Mapping[Literal["text", "labels"], str] | None = None


@parameters
class Clustering(Place):
    """Texts with the labels of their groups; `sample`: so many of them, drawn with `seed`."""

    type: Literal["clustering"]
    fields: Mapping[Literal["text", "label"], str | tuple[str, ...]] | None = None
    sample: Count | None = None
    seed: int | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        _check_text(self.fields)
        if self.sample is not None and self.seed is None:
            raise RecipeError("sample: a `seed` is missing, with which the texts are drawn.")


_SHAPES: dict[str, dict[str, type]] = {
    "retrieval": {"qa": Qa, "queries": Judged, "passages": Judged, "topics": Judged},
    "reranking": {"pairs": Pairs, "lists": Lists, "grades": Grades, "mined": Mined},
}
_TYPES: dict[str, type] = {
    "sts": Sts, "classification": Classification, "clustering": Clustering, "pair": Pair, "multilabel": Multilabel,
    "bitext": Bitext,
}  # fmt: skip


def parse_task(name: str, row: Any) -> Place:
    """The row of a task. Raises RecipeError with a line for each fault: a key, its value and what is expected."""
    place = f"tasks.{name}"
    if not isinstance(row, Mapping):
        raise RecipeError(f"{place}: {row!r} is given, a block of keys is expected.")
    kinds: Any = {**_SHAPES, **_TYPES}
    for key in ("type", "shape"):
        kinds = kinds[_chosen(place, key, row, kinds)]
        if isinstance(kinds, type):
            break
    return parse(kinds, row, place)


def parse_tasks(rows: Mapping[str, Any]) -> dict[str, Place]:
    """The rows of all tasks of a recipe. Raises one RecipeError with the faults of all."""
    found, faults = {}, []
    for name, row in rows.items():
        try:
            found[name] = parse_task(name, row)
        except RecipeError as error:
            faults.append(str(error))
    if faults:
        raise RecipeError("\n".join(faults))
    return found


def _chosen(place: str, key: str, row: Mapping[str, Any], known: Iterable[str]) -> str:
    """The value of a key on which the others depend."""
    if key not in row:
        near = get_close_matches(key, map(str, row), n=1)
        meant = [f"{place}.{near[0]}: {unknown(near[0], [key])}"] if near else []
        raise RecipeError("\n".join([*meant, f"{place}.{key}: missing. Allowed: {', '.join(known)}."]))
    if row[key] not in list(known):
        raise RecipeError(f"{place}.{key}: '{row[key]}' is not known. Allowed: {', '.join(known)}.")
    return row[key]
