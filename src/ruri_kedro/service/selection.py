"""Which models are served: those that are named, else the champion of the registry or its challenger."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ruri_kedro.errors import RecipeError, RegistryError
from ruri_kedro.models.kinds import KINDS, Kind, base_kinds, saved_kind
from ruri_kedro.models.saved import SavedModel
from ruri_kedro.recipe.stages import registered_models
from ruri_kedro.registry.promotion.rules import released_name
from ruri_kedro.registry.versions.registered import CHALLENGER, CHAMPION, model_folder, number_of, resolve

_REGISTRY = "models:/"
RERANKER = "cross_encoder"  # a kind
LATE = "multi_vector"  # another


@dataclass(frozen=True)
class Choice:
    """A place in the service, and the models that may take it: the first that there is."""

    references: tuple[str, ...]

    @property
    def follows_registry(self) -> bool:
        """Whether another model may come to take the place."""
        return any(reference.startswith(_REGISTRY) for reference in self.references)

    def now(self) -> "Chosen | None":
        """The model that takes the place now; None where there is none yet. Raises RegistryError as `resolve`."""
        for reference in self.references:
            if not reference.startswith(_REGISTRY):
                return Chosen(reference, Path(reference).resolve().name, None)
            name, alias = re.match(r"([^@/]+)[@/]?(.*)", reference.removeprefix(_REGISTRY)).groups()
            if len(self.references) > 1 and number_of(name, alias) is None:
                continue
            name, number = resolve(reference)
            return Chosen(f"{_REGISTRY}{name}/{number}", f"{name}/{number}", alias or None)
        return None


@dataclass(frozen=True)
class Chosen:
    """A model by a reference that never means another one, what it is called, and the alias by which it was found."""

    reference: str
    label: str
    alias: str | None

    @property
    def names(self) -> frozenset[str]:
        """What a request may call it, besides its label: its registered model, and its alias."""
        name, slash, _ = self.label.rpartition("/")
        return frozenset(each for each in (name if slash else None, self.alias) if each)

    def open(self, device: str) -> tuple[SavedModel, Kind]:
        """The model, checked, and its kind; its weights are not read yet.

        Raises RegistryError for a version whose files are not to be trusted, RecipeError for a folder that needs code
        of its own.
        """
        at = str(model_folder(self.reference)) if self.reference.startswith(_REGISTRY) else self.reference
        saved = SavedModel.of(at, device)
        return saved, _kind(saved)


def _kind(saved: SavedModel) -> Kind:
    named, unsaid = saved_kind(Path(saved.source)), base_kinds()[0]
    if named in (None, unsaid):  # also what a folder that says nothing of its class is taken for
        named = KINDS[RERANKER] if saved.is_cross_encoder else KINDS[LATE] if saved.is_multi_vector else unsaid
    if named.inference is None:
        raise RecipeError(f"model '{saved.name}': models of the kind {named.name} are not served.")
    return named


@dataclass(frozen=True)
class Selection:
    """The places of the service."""

    model: Choice
    compared: Choice | None
    reranker: Choice | None

    @staticmethod
    def of(service: Mapping[str, Any], promotion: Mapping[str, Any] | None, recipe: str | None) -> "Selection":
        """As the parameters `service` and `promotion` have it."""
        named = {name: Choice((service[name],)) for name in ("model", "compared", "reranker") if service[name]}
        if "model" not in named and promotion is None:
            raise RecipeError("the recipe has no parameters `promotion`, so nothing says what to serve. Give --model")
        model = named.get("model") or _registered(promotion, promotion["model"])
        reranker = named.get("reranker")
        if reranker is None and model.follows_registry and promotion is not None and recipe:
            reranker = _registered(promotion, _reranker_name(recipe))
        return Selection(model, named.get("compared"), reranker)

    @property
    def asks_registry(self) -> bool:
        """Whether any of the models is one of the registry."""
        return any(choice and choice.follows_registry for choice in (self.model, self.compared, self.reranker))

    def now(self) -> dict[str, Chosen]:
        """The models that are served now, by place: `model`, `compared`, `reranker`.

        Raises RegistryError where there is none for the first place, or one that was named is not there.
        """
        places = {"model": self.model, "compared": self.compared, "reranker": self.reranker}
        found = {place: choice.now() for place, choice in places.items() if choice is not None}
        if found["model"] is None:
            wanted = self.model.references[-1].removeprefix(_REGISTRY).rpartition("@")[0]
            raise RegistryError(
                f"nothing to serve: '{wanted}' has neither champion nor challenger. Register a model (kedro run), or "
                "give --model"
            )
        return {place: chosen for place, chosen in found.items() if chosen is not None}


def _registered(promotion: Mapping[str, Any], name: str) -> Choice:
    champion = f"{_REGISTRY}{released_name(promotion, name)}@{CHAMPION}"
    return Choice((champion, f"{_REGISTRY}{name}@{CHALLENGER}"))


def _reranker_name(recipe: str) -> str:
    """The registered model of a recipe's cross-encoder."""
    stage = next(row for row in registered_models().values() if row.kind == RERANKER)
    return str(stage.registered_as).format(recipe=recipe)
