"""What a recipe asks of a challenger: the block `promotion` of its parameters, checked."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ruri_kedro.errors import RecipeError
from ruri_kedro.models.kinds import registered_words
from ruri_kedro.recipe.stages import evaluated_models, registered_models
from ruri_kedro.text.names import check_name

# From the narrowest to the widest: a licence that allows one of them allows those after it.
USES = ("commercial", "non-commercial", "research")
SEARCHED = ("retrieval", "reranking")  # categories in which documents are ordered for a query
_TESTED = ("loss", "gain", "baseline")  # gates that test significance
CATEGORIES = ("retrieval", "reranking", "sts", "classification", "clustering", "pair", "multilabel", "bitext")


@dataclass(frozen=True)
class Rules:
    """The bounds of the gates; `minimum`, `size_mb` and `latency_ms` by kind of model."""

    tasks: Sequence[str] | None
    minimum: Mapping[str, Mapping[str, Mapping[str, float | None]]]
    loss: Mapping[str, float]
    gain: Mapping[str, float]
    baseline: Mapping[str, Any]
    resamples: int
    contamination: Mapping[str, float]
    size_mb: Mapping[str, float]
    latency_ms: Mapping[str, float]
    probe: Mapping[str, Any]
    use: str
    licences: Mapping[str, Sequence[str]]

    @property
    def probe_pairs(self) -> list[tuple[str, str]]:
        """Every query of the probe with every passage."""
        return [(query, passage) for query in self.probe["queries"] for passage in self.probe["passages"]]

    def allows(self, licence: str) -> bool:
        """Whether data of this licence may be trained on for the stated use."""
        return allows(self.licences, self.use, licence)


def baselines() -> tuple[str, ...]:
    """Models that a challenger can be compared with besides the champion; a dossier has their scores."""
    registered = registered_models()
    return ("bm25", *(name for name, model in evaluated_models().items() if model not in registered))


def is_searched(tests: Mapping[str, Mapping[str, str]], task: str) -> bool:
    """Whether documents are ordered in a task; `tests` describe tasks, of which it may be none."""
    return tests.get(task, {}).get("category") in SEARCHED


def allows(licences: Mapping[str, Sequence[str]], use: str, licence: str) -> bool:
    """Whether `licences`, lists by the widest use that they allow, have this licence for a use.

    Case, spaces and hyphens do not matter.
    """
    wide_enough = USES[: USES.index(use) + 1]
    return plain(licence) in {plain(known) for name in wide_enough for known in licences.get(name, ())}


def parse_rules(promotion: Mapping[str, Any]) -> Rules:
    """The rules in the block `promotion`. Raises RecipeError that names the key and what is allowed."""
    names = Rules.__dataclass_fields__
    _only(promotion, {*names, "model", "version", "released", "card"}, "promotion")
    for name in names:
        if name not in promotion:
            raise RecipeError(f"promotion.{name}: missing. conf/base/parameters_promotion.yml has an example.")
    for name in ("minimum", "loss", "gain", "baseline", "contamination", "size_mb", "latency_ms", "probe", "licences"):
        _mapping(promotion[name], f"promotion.{name}")
    if promotion["use"] not in USES:
        raise RecipeError(f"promotion.use: '{promotion['use']}' is unknown. Allowed: {', '.join(USES)}.")
    _only(promotion["licences"], USES, "promotion.licences")
    for use, licences in promotion["licences"].items():
        _texts(licences, f"promotion.licences.{use}", least=0)
    for kind in registered_words():
        _check_minimum(promotion["minimum"].get(kind, {}), f"promotion.minimum.{kind}")
        for name in ("size_mb", "latency_ms"):
            _number(promotion[name].get(kind), f"promotion.{name}.{kind}", 0, float("inf"))
    for name, key, highest in (
        ("loss", "alpha", 1),
        ("loss", "max_drop", float("inf")),
        ("gain", "alpha", 1),
        ("baseline", "alpha", 1),
        ("baseline", "max_drop", float("inf")),
        ("contamination", "max_share", 1),
        ("probe", "tolerance", float("inf")),
    ):
        _number(promotion[name].get(key), f"promotion.{name}.{key}", 0, highest)
    _check_baseline(promotion["baseline"])
    _check_resamples(promotion)
    if promotion["tasks"] is not None:
        _texts(promotion["tasks"], "promotion.tasks")
    for key in ("queries", "passages"):
        _texts(promotion["probe"].get(key), f"promotion.probe.{key}")
    return Rules(**{name: promotion[name] for name in names})


def released_name(promotion: Mapping[str, Any], name: str) -> str:
    """The registered model that has the champion of the registered model `name`; RecipeError for impossible names."""
    check_name("promotion.model", name, dots=True)
    released = (promotion.get("released") or "{model}").replace("{model}", name)
    check_name("promotion.released", released, dots=True)
    return released


def _check_minimum(minimum: Any, place: str) -> None:
    _mapping(minimum, place)
    _only(minimum, {"categories", "tasks"}, place)
    for part, bounds in minimum.items():
        _mapping(bounds, f"{place}.{part}")
        for name in (name for name, bound in bounds.items() if bound is not None):
            _number(bounds[name], f"{place}.{part}.{name}", -1, 1)
    _only(minimum.get("categories", {}), CATEGORIES, f"{place}.categories")


def _check_baseline(baseline: Mapping[str, Any]) -> None:
    _only(baseline, ("model", "required", "alpha", "max_drop"), "promotion.baseline")
    _only([baseline.get("model")], baselines(), "promotion.baseline.model")
    if not isinstance(baseline.get("required"), bool):
        raise RecipeError(f"promotion.baseline.required: {baseline.get('required')!r} given, true or false expected.")


def _check_resamples(promotion: Mapping[str, Any]) -> None:
    """A randomisation test of n resamples has no p below 1 / (n + 1): with too few a gate could not find anything."""
    resamples, alpha = promotion["resamples"], min(promotion[name]["alpha"] for name in _TESTED)
    if isinstance(resamples, bool) or not isinstance(resamples, int) or not (resamples + 1) * alpha >= 1:
        raise RecipeError(
            f"promotion.resamples: {resamples!r}; a whole number is needed with which p can be as low as {alpha}, the "
            "smallest alpha of loss, gain and baseline."
        )


def plain(licence: str) -> str:
    """The name of a licence without what people write differently."""
    return "-".join(licence.casefold().replace("-", " ").split())


def _only(given: Iterable[Any], known: Any, place: str) -> None:
    for key in given:
        if key not in known:
            raise RecipeError(f"{place}: '{key}' is unknown. Allowed: {', '.join(sorted(known))}.")


def _mapping(value: Any, place: str) -> None:
    if not isinstance(value, Mapping):
        raise RecipeError(f"{place}: {value!r}; names with values are needed, {{}} for none.")


def _texts(value: Any, place: str, least: int = 1) -> None:
    if not isinstance(value, list) or len(value) < least or not all(isinstance(text, str) for text in value):
        raise RecipeError(f"{place}: {'one or more texts' if least else 'texts'} are needed, as a list.")


def _number(value: Any, place: str, lowest: float, highest: float) -> None:
    if isinstance(value, bool) or not isinstance(value, int | float) or not lowest <= value <= highest:
        raise RecipeError(f"{place}: {value!r} is no number from {lowest} to {highest}.")
