"""The aliases of a registered model: taken back, and mended where a promotion or rollback was killed.

All of it may be done again after a kill at any point, and is done by whoever holds the registered model.
"""

from collections.abc import Mapping
from typing import Any

from ruri_kedro.registry.promotion.decision import INTERRUPTED, PROMOTED, PROMOTING, REPLACED, ROLLING_BACK, utc_now
from ruri_kedro.registry.runs.tracking import mlflow_client
from ruri_kedro.registry.versions.registered import (
    CHAMPION,
    DECISION,
    PREVIOUS,
    ROLLED_BACK,
    number_of,
    numbers,
    original_of,
    version_of,
)


def interrupted(name: str) -> bool:
    """Whether a promotion or rollback of the registered model was killed, or is under way."""
    return any(_under_way(version.tags) for version in _versions(name)) or _doubled(name)


def finish_interrupted(name: str) -> tuple[int, int] | None:
    """Finish what killed promotions and rollbacks have left of the registered model `name`, which is held.

    A promotion is done if its alias has moved, and is none otherwise; a rollback is carried out, whose numbers are
    given.
    """
    client = mlflow_client()
    if _doubled(name):  # killed between the two aliases
        before = version_of(name, number_of(name, CHAMPION)).tags.get(REPLACED)
        _point_previous(name, before)
    finished = None
    for version in _versions(name):
        number, decision = int(version.version), version.tags.get(DECISION, "")
        if decision == PROMOTING:
            outcome = PROMOTED if number == number_of(name, CHAMPION) else INTERRUPTED
            own = original_of(name, number)
            if own != (name, number) and own[1] in numbers(own[0]):
                client.set_model_version_tag(own[0], str(own[1]), DECISION, outcome)
            client.set_model_version_tag(name, str(number), DECISION, outcome)
        elif decision.startswith(ROLLING_BACK) and decision.removeprefix(ROLLING_BACK).isdigit():
            finished = int(decision.removeprefix(ROLLING_BACK)), number
            take_back(name, *finished)
    return finished


def take_back(name: str, new: int, old: int) -> None:
    """Make `new` the champion in place of `old`; may be done again after a kill at any point of it.

    The old one is marked first: whoever is killed in between leaves nothing that would be promoted again.
    """
    client = mlflow_client()
    client.set_model_version_tag(name, str(old), DECISION, f"{ROLLING_BACK}{new}")
    client.set_model_version_tag(name, str(old), ROLLED_BACK, utc_now())
    # Where somebody has given the alias to a third version meanwhile, that stays.
    if new in numbers(name) and number_of(name, CHAMPION) in (old, new):
        before = version_of(name, new).tags.get(REPLACED)
        client.set_registered_model_alias(name, CHAMPION, str(new))
        _point_previous(name, before)
    client.set_model_version_tag(name, str(old), DECISION, f"rolled back to version {new}")


def _point_previous(name: str, number: str | None) -> None:
    """Give `previous` to a version, or to none where there is no such version any more."""
    client = mlflow_client()
    if number and int(number) in numbers(name):
        client.set_registered_model_alias(name, PREVIOUS, number)
    elif number_of(name, PREVIOUS) is not None:
        client.delete_registered_model_alias(name, PREVIOUS)


def _versions(name: str) -> list[Any]:
    return mlflow_client().search_model_versions(f"name='{name}'")


def _under_way(tags: Mapping[str, str]) -> bool:
    decision = tags.get(DECISION, "")
    return decision == PROMOTING or decision.startswith(ROLLING_BACK)


def _doubled(name: str) -> bool:
    """Whether one version has both aliases, as after a kill between them."""
    champion = number_of(name, CHAMPION)
    return champion is not None and champion == number_of(name, PREVIOUS)
