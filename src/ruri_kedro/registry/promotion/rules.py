"""What a recipe asks of a challenger: the block `promotion` of its parameters, checked."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated, Any, Literal

from annotated_types import Ge, Le, Len

from ruri_kedro.benchmark.tasks.types import is_searched as is_searched_type
from ruri_kedro.benchmark.tasks.types import task_types
from ruri_kedro.errors import RecipeError
from ruri_kedro.models.kinds import registered_words
from ruri_kedro.recipe.parse import Count, NotNegative, Share, meant, parameters, parse, unknown
from ruri_kedro.recipe.stages import evaluated_models, registered_models
from ruri_kedro.text.names import check_name

# From the narrowest to the widest: a licence that allows one of them allows those after it.
USES = ("commercial", "non-commercial", "research")
CATEGORIES = tuple(task_types())  # types of task
Metric = Annotated[float, Ge(-1), Le(1)]


@parameters
class LossRule:
    """When a task is worse than the champion's; `max_drop` where its queries are too few for a test."""

    alpha: Share
    max_drop: NotNegative


@parameters
class GainRule:
    """When a task is better than the champion's, after Holm's correction."""

    alpha: Share


@parameters
class BaselineRule:
    """The model that a challenger is compared with besides the champion, and whether it must not be worse."""

    model: str
    required: bool
    alpha: Share
    max_drop: NotNegative


@parameters
class Minimum:
    """The least main metric: the mean over the tasks of a category, and of single tasks; None: any."""

    categories: Mapping[Literal[CATEGORIES], Metric | None]
    tasks: Mapping[str, Metric | None]


@parameters
class ContaminationRule:
    """The largest share of a stage's examples with a leak that should have been removed."""

    max_share: Share


@parameters
class ProbeRule:
    """Texts that are scored when a model is registered and again when it is judged."""

    tolerance: NotNegative  # largest difference of a score
    queries: Annotated[tuple[str, ...], Len(1)]
    passages: Annotated[tuple[str, ...], Len(1)]


@parameters
class CardTexts:
    """What only the one who publishes a model can say."""

    licence: str
    limits: str


@parameters
class Rules:
    """Parameters `promotion`: who is judged, and the bounds of the gates, some by kind of model."""

    model: str
    version: int | None  # None: the one with the alias `challenger`
    released: str | None  # registered model of the champion; None: the same
    tasks: Annotated[tuple[str, ...], Len(1)] | None
    minimum: Mapping[str, Minimum]
    loss: LossRule
    gain: GainRule
    baseline: BaselineRule
    resamples: Count
    contamination: ContaminationRule
    size_mb: Mapping[str, NotNegative]
    latency_ms: Mapping[str, NotNegative]
    probe: ProbeRule
    use: Literal[USES]
    licences: Mapping[Literal[USES], tuple[str, ...]]
    card: CardTexts

    def __post_init__(self) -> None:
        faults = list(self._by_kind())
        model = self.baseline.model
        if model not in baselines():
            faults.append(f"baseline.model: {model!r} is given. {meant(model, baselines())}")
        faults += [f"licences.{use}: missing. Write [] for none." for use in USES if use not in self.licences]
        # A randomisation test of n resamples has no p below 1 / (n + 1): with too few a gate could not find anything.
        alpha = min(rule.alpha for rule in (self.loss, self.gain, self.baseline))
        if not (self.resamples + 1) * alpha >= 1:
            faults.append(
                f"resamples: {self.resamples}; as many are needed as let p be as low as {alpha}, the smallest alpha of "
                "loss, gain and baseline."
            )
        if faults:
            raise RecipeError("\n".join(faults))

    def _by_kind(self) -> Iterator[str]:
        """What is wrong with the kinds of model that the bounds name: those that recipes register, each once."""
        kinds = registered_words()
        for name in ("minimum", "size_mb", "latency_ms"):
            given = getattr(self, name)
            yield from (f"{name}.{kind}: missing." for kind in kinds if kind not in given)
            yield from (f"{name}.{kind}: {unknown(kind, kinds)}" for kind in given if kind not in kinds)

    @property
    def probe_pairs(self) -> list[tuple[str, str]]:
        """Every query of the probe with every passage."""
        return [(query, passage) for query in self.probe.queries for passage in self.probe.passages]

    def allows(self, licence: str) -> bool:
        """Whether data of this licence may be trained on for the stated use."""
        return allows(self.licences, self.use, licence)


def baselines() -> tuple[str, ...]:
    """Models that a challenger can be compared with besides the champion; their scores are logged with it."""
    registered = registered_models()
    return ("bm25", *(name for name, model in evaluated_models().items() if model not in registered))


def is_searched(tests: Mapping[str, Mapping[str, str]], task: str) -> bool:
    """Whether documents are ordered in a task; `tests` describe tasks, of which it may be none."""
    return is_searched_type(tests.get(task, {}).get("category", ""))


def allows(licences: Mapping[str, Sequence[str]], use: str, licence: str) -> bool:
    """Whether `licences`, lists by the widest use that they allow, have this licence for a use.

    Case, spaces and hyphens do not matter.
    """
    wide_enough = USES[: USES.index(use) + 1]
    return plain(licence) in {plain(known) for name in wide_enough for known in licences.get(name, ())}


def parse_rules(promotion: Mapping[str, Any]) -> Rules:
    """The rules in the block `promotion`. Raises RecipeError that names the key and what is allowed."""
    return parse(Rules, promotion, "promotion")


def released_name(promotion: Mapping[str, Any], name: str) -> str:
    """The registered model that has the champion of the registered model `name`; RecipeError for impossible names."""
    check_name("promotion.model", name, dots=True)
    released = (promotion.get("released") or "{model}").replace("{model}", name)
    check_name("promotion.released", released, dots=True)
    return released


def plain(licence: str) -> str:
    """The name of a licence without what people write differently."""
    return "-".join(licence.casefold().replace("-", " ").split())
