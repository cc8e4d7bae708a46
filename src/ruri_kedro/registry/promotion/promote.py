"""Promotion of a challenger, and the way back.

A challenger is judged without holding anything, which may take minutes. Then the registered model is held for a moment,
and the aliases move if the champion is still the one that the challenger was judged against. With `promotion.released`
the champion is a version of another registered model, into which the challenger is copied: MLflow's permissions are per
registered model, and whoever may register a challenger may also move the aliases of its model.

What is decided is written down before an alias moves, as under way, and as done when it has moved. Whoever is killed in
between leaves that mark, and the next promotion or rollback finishes the record first.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from typing import Any

from ruri_kedro.errors import RegistryError
from ruri_kedro.registry.evidence.evidence import Evidence
from ruri_kedro.registry.promotion.alias_moves import finish_interrupted, interrupted, take_back
from ruri_kedro.registry.promotion.champions import log_champions
from ruri_kedro.registry.promotion.decision import (
    PROMOTED,
    PROMOTING,
    REPLACED,
    Decision,
    record_files,
    utc_now,
    write_tags,
)
from ruri_kedro.registry.promotion.gates import Case, judge
from ruri_kedro.registry.promotion.lease import Lease, lease
from ruri_kedro.registry.promotion.rules import parse_rules, released_name
from ruri_kedro.registry.runs.tracking import mlflow_client
from ruri_kedro.registry.versions.registered import (
    CHAMPION,
    DECISION,
    PREVIOUS,
    SIGNED,
    challenger_evidence,
    copies_of,
    copy_version,
    ensure_model,
    find_version,
    logged_evidence,
    number_of,
    original_of,
    remove_version,
    standing_of,
    version_of,
)


def judge_version(promotion: Mapping[str, Any], name: str | None = None, number: int | None = None) -> Decision:
    """Judge a version (default: the challenger of `promotion.model`) by the block `promotion` of a recipe.

    Nothing is changed. Raises RecipeError for rules that cannot be, RegistryError where there is no such version.
    """
    rules = parse_rules(promotion)
    name = name or promotion["model"]
    released = released_name(promotion, name)
    number = find_version(name, number if number is not None else promotion.get("version"))
    champion = number_of(released, CHAMPION)
    challenger = challenger_evidence(name, number, released)
    other = logged_evidence(released, champion) if champion is not None else None
    verdicts = judge(Case(challenger, other, rules))
    inputs = {
        "challenger": _inputs(name, number, challenger),
        "champion": _inputs(released, champion, other) if other else None,
        "rules": {key: value for key, value in promotion.items() if key not in ("model", "version", "card", "probe")},
    }
    manifest = version_of(name, number).tags.get(SIGNED)
    return Decision(name, number, released, champion, manifest, tuple(verdicts), inputs, utc_now())


def apply_decision(decision: Decision) -> None:
    """Put a decision on the version, as tags and files; if every gate passed, make it the champion.

    Raises RegistryError, and moves nothing, where the champion has changed since the challenger was judged, or
    another promotion is under way for long.
    """
    with _permitted(decision.released), lease(decision.name) as own:
        if decision.promoted:
            ensure_model(decision.released)
            with _released(decision, own) as held:
                finish_interrupted(decision.released)
                _promote(decision, held)
        else:
            # What somebody left who may release is finished by somebody who may.
            if interrupted(decision.released):
                with _permitted(decision.released, needed=False), _released(decision, own):
                    finish_interrupted(decision.released)
            _refuse(decision)
    if decision.promoted:
        log_champions(decision.released)


def rollback(name: str) -> tuple[int, int]:
    """Give `champion` back to the version that has `previous`; gives the new and the old champion's number.

    `previous` then goes to the champion before that one, if there is one. A rollback that was killed is finished, and
    no other one begun. Raises RegistryError where there is no previous champion.
    """
    nothing = RegistryError(f"'{name}' has no previous champion to go back to.")
    if number_of(name, CHAMPION) is None:  # a model that is not there cannot be held
        raise nothing
    with _permitted(name), lease(name) as held:
        if finished := finish_interrupted(name):
            return finished
        old, new = number_of(name, CHAMPION), number_of(name, PREVIOUS)
        if old is None or new is None:
            raise nothing
        held.check()
        take_back(name, new, old)
    return new, old


@contextmanager
def _permitted(name: str, needed: bool = True) -> Iterator[None]:
    """Say it plainly where the login of this process may not write to the registry; nothing if it is not `needed`."""
    from mlflow.exceptions import MlflowException

    try:
        yield
    except MlflowException as error:
        if error.error_code != "PERMISSION_DENIED" and error.get_http_status_code() != 403:
            raise
        if needed:
            raise RegistryError(
                f"'{name}': this login (MLFLOW_TRACKING_USERNAME) has no permission to release. Ask somebody who has. "
                f"({error.message})"
            ) from error


@contextmanager
def _released(decision: Decision, own: Lease) -> Iterator[Lease]:
    """Hold the registered model that has the champion, beside the challenger's, which is held."""
    if decision.released == decision.name:
        yield own
    else:
        with lease(decision.released) as held:
            yield held


def _refuse(decision: Decision) -> None:
    """Put a refusal on the version, unless it is the champion: its tags say how it became that."""
    champion = number_of(decision.released, CHAMPION)
    own = (decision.name, decision.version)
    if champion is not None and original_of(decision.released, champion) == own:
        if champion != decision.champion:
            raise RegistryError(
                f"'{decision.name}' version {decision.version} was made the champion by another promotion while it was "
                f"judged here ({decision.summary}). Its record stays as it is."
            )
        return
    write_tags([own], {**record_files(decision), DECISION: decision.summary})


def _promote(decision: Decision, held: Lease) -> None:
    """Write the decision down, make the version the champion, and say so.

    `previous` goes before `champion`: a process that is killed in between leaves the old champion, and loses nothing.
    """
    # What it was judged against is looked up again.
    client = mlflow_client()
    name = decision.released
    champion = _same_champion(decision)
    if reason := standing_of(decision.name, decision.version, name):  # since: the same champion may be there again
        raise RegistryError(f"'{decision.name}' version {decision.version}: {reason}. Nothing was moved.")

    # The record, as under way: first on the released version, by which it is found again.
    number = decision.version if name == decision.name else _copy(decision)
    versions = list(dict.fromkeys([(name, number), (decision.name, decision.version)]))
    write_tags(versions, {DECISION: PROMOTING, **record_files(decision)})
    if champion is not None:
        client.set_model_version_tag(name, str(number), REPLACED, str(champion))
    elif REPLACED in version_of(name, number).tags:
        client.delete_model_version_tag(name, str(number), REPLACED)

    # The aliases, if nobody was faster than the registry.
    held.check()
    _same_champion(decision)
    if champion is not None:
        client.set_registered_model_alias(name, PREVIOUS, str(champion))
    client.set_registered_model_alias(name, CHAMPION, str(number))

    # The record, as done: last on the version by which it is found.
    write_tags(versions[::-1], {DECISION: PROMOTED})


def _same_champion(decision: Decision) -> int | None:
    """Number of the champion; RegistryError where it is another than the challenger was judged against."""
    champion = number_of(decision.released, CHAMPION)
    if champion != decision.champion:
        was, now = (f"version {number}" if number else "none" for number in (decision.champion, champion))
        raise RegistryError(
            f"'{decision.name}' version {decision.version} was judged against another champion ({was}) than there is "
            f"now ({now}): another promotion or rollback came first, and nothing was moved. Judge it again."
        )
    return champion


def _copy(decision: Decision) -> int:
    """Number of the version's copy in the released model, which a killed promotion may have left.

    Who registered the version may still write to it: the copy has the manifest's SHA-256 that was judged, or it is
    removed again.
    """
    for found in copies_of(decision.name, decision.version, decision.released):
        if found.tags.get(SIGNED) == decision.manifest:
            return int(found.version)
    made = copy_version(decision.name, decision.version, decision.released, {DECISION: PROMOTING})
    if made.tags.get(SIGNED) != decision.manifest:
        remove_version(made)
        raise RegistryError(
            f"'{decision.name}' version {decision.version} has another manifest than when it was judged: nothing was "
            "moved. Judge it again."
        )
    return int(made.version)


def _inputs(name: str, number: int, given: Evidence) -> dict[str, Any]:
    version = version_of(name, number)
    training = given.training or {}
    return {
        "version": number,
        "run": version.run_id,
        "tests": {task: test["digest"] for task, test in (given.tests or {}).items()},
        "data": training.get("data", {}),
        "trial": asdict(given.trial) if given.trial else None,
    }
