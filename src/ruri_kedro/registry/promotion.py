"""Promotion of a challenger, and the way back.

A challenger is judged without holding anything, which may take minutes. Then the registered model is held for a moment,
and the aliases move if the champion is still the one that the challenger was judged against. With `promotion.released`
the champion is a version of another registered model, into which the challenger is copied: MLflow's permissions are per
registered model, and whoever may register a challenger may also move the aliases of its model.
"""

import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from ruri_kedro.errors import RegistryError
from ruri_kedro.registry.evidence import DECISIONS, Evidence
from ruri_kedro.registry.gates import Case, Verdict, judge
from ruri_kedro.registry.lease import WAIT, Lease, lease
from ruri_kedro.registry.rules import parse_rules
from ruri_kedro.registry.versions import (
    CHAMPION,
    DECISION,
    PREVIOUS,
    ROLLED_BACK,
    SIGNED,
    challenger_evidence,
    copy_version,
    ensure_model,
    find_version,
    logged_evidence,
    logged_model_id,
    number_of,
    numbers,
    original_of,
    remove_version,
    standing_of,
    version_of,
)
from ruri_kedro.tables.files import write_json
from ruri_kedro.text.names import check_name

_TAG = 5000  # characters that MLflow takes
REPLACED = "promotion.replaced"  # tag of a version: number of the champion whose place it took


@dataclass(frozen=True)
class Decision:
    """What was found about a challenger, and what it was found on."""

    name: str
    version: int
    released: str  # the registered model that has the champion
    champion: int | None  # that it was judged against
    manifest: str | None  # SHA-256 of the manifest that was checked
    verdicts: tuple[Verdict, ...]
    inputs: Mapping[str, Any]  # evaluation runs, data versions and rules
    time: str  # UTC, to the second

    @property
    def promoted(self) -> bool:
        """Whether every gate passed."""
        return all(verdict.passed for verdict in self.verdicts)

    @property
    def summary(self) -> str:
        """`promoted`, or `refused` with the gates that failed by themselves."""
        failed = [v.gate for v in self.verdicts if not v.passed and not v.reason.startswith("not judged")]
        return "promoted" if self.promoted else f"refused: {', '.join(failed)}"

    def to_json(self) -> dict[str, Any]:
        """The decision as JSON values."""
        return {"decision": self.summary, "promoted": self.promoted, **asdict(self)}

    def to_markdown(self) -> str:
        """The decision for people: a line per gate."""
        other = "version" if self.released == self.name else f"{self.released} version"
        against = f"{other} {self.champion}" if self.champion else "no champion yet"
        lines = [
            f"# {self.name} version {self.version}: {'promoted' if self.promoted else 'refused'}",
            "",
            f"Judged on {self.time} against {against}.",
            "",
            "| gate | verdict | reason |",
            "| --- | --- | --- |",
        ]
        for verdict in self.verdicts:
            reason = verdict.reason.replace("|", "\\|")
            lines.append(f"| {verdict.gate} | {'pass' if verdict.passed else '**fail**'} | {reason} |")
        return "\n".join([*lines, ""])


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
    return Decision(name, number, released, champion, manifest, tuple(verdicts), inputs, _now())


def released_name(promotion: Mapping[str, Any], name: str) -> str:
    """The registered model that has the champion of the registered model `name`; RecipeError for impossible names."""
    check_name("promotion.model", name, dots=True)
    released = (promotion.get("released") or "{model}").replace("{model}", name)
    check_name("promotion.released", released, dots=True)
    return released


def apply_decision(decision: Decision, wait: float = WAIT) -> None:
    """Put a decision on the version, as tags and files; if every gate passed, make it the champion first.

    Raises RegistryError, and moves nothing, where the champion has changed since the challenger was judged, or
    another promotion is under way for longer than `wait` seconds.
    """
    versions = [(decision.name, decision.version)]
    with _permitted(decision.released):
        if decision.promoted:
            ensure_model(decision.released)
            with lease(decision.released, wait) as held:
                champion = decision.released, _move(decision, held)
            versions = list(dict.fromkeys([*versions, champion]))
        _record(decision, versions)


def rollback(name: str, wait: float = WAIT) -> tuple[int, int]:
    """Give `champion` back to the version that has `previous`; gives the new and the old champion's number.

    The old one is marked first: whoever is killed in between leaves nothing that would be promoted again.
    `previous` then goes to the champion before that one, if there is one. Raises RegistryError where there is no
    previous champion.
    """
    from mlflow.tracking import MlflowClient

    client = MlflowClient()
    _way_back(name)  # a model that is not there cannot be held
    with _permitted(name), lease(name, wait) as held:
        new, old = _way_back(name)
        before = version_of(name, new).tags.get(REPLACED)
        held.check()
        client.set_model_version_tag(name, str(old), ROLLED_BACK, _now())
        client.set_model_version_tag(name, str(old), DECISION, f"rolled back to version {new}")
        client.set_registered_model_alias(name, CHAMPION, str(new))
        if before and int(before) in numbers(name):
            client.set_registered_model_alias(name, PREVIOUS, before)
        else:
            client.delete_registered_model_alias(name, PREVIOUS)
    return new, old


@contextmanager
def _permitted(name: str) -> Iterator[None]:
    """Say it plainly where the login of this process may not write to the registry."""
    from mlflow.exceptions import MlflowException

    try:
        yield
    except MlflowException as error:
        if error.error_code != "PERMISSION_DENIED" and error.get_http_status_code() != 403:
            raise
        raise RegistryError(
            f"'{name}': this login (MLFLOW_TRACKING_USERNAME) may not release. Ask somebody who may. ({error.message})"
        ) from error


def _way_back(name: str) -> tuple[int, int]:
    """Numbers of the previous champion and of the champion."""
    old, new = number_of(name, CHAMPION), number_of(name, PREVIOUS)
    if old is None or new is None or old == new:
        raise RegistryError(f"'{name}' has no previous champion to go back to.")
    return new, old


def _move(decision: Decision, held: Lease) -> int:
    """Make it the champion; gives the champion's number.

    `previous` first: whoever is killed in between leaves the old champion, and nothing that is lost.
    """
    from mlflow.tracking import MlflowClient

    client = MlflowClient()
    name = decision.released
    champion = number_of(name, CHAMPION)
    if champion != decision.champion:
        was, now = (f"version {number}" if number else "none" for number in (decision.champion, champion))
        raise RegistryError(
            f"'{decision.name}' version {decision.version} was judged against another champion ({was}) than there is "
            f"now ({now}): another promotion or rollback came first, and nothing was moved. Judge it again."
        )
    if reason := standing_of(decision.name, decision.version, name):  # since: the same champion may be there again
        raise RegistryError(f"'{decision.name}' version {decision.version}: {reason}. Nothing was moved.")
    number = decision.version if name == decision.name else _copy(decision)
    held.check()
    if champion is not None:
        client.set_registered_model_alias(name, PREVIOUS, str(champion))
        client.set_model_version_tag(name, str(number), REPLACED, str(champion))
    else:  # a copy has the tags of its original
        client.delete_model_version_tag(name, str(number), REPLACED)
    client.set_registered_model_alias(name, CHAMPION, str(number))
    return number


def _copy(decision: Decision) -> int:
    """Copy the version into the released model; gives the copy's number.

    Who registered the version may still write to it: the copy has the manifest's SHA-256 that was judged, or it is
    removed again.
    """
    made = copy_version(decision.name, decision.version, decision.released)
    if made.tags.get(SIGNED) != decision.manifest:
        remove_version(made)
        raise RegistryError(
            f"'{decision.name}' version {decision.version} has another manifest than when it was judged: nothing was "
            "moved. Judge it again."
        )
    return int(made.version)


def _record(decision: Decision, versions: Sequence[tuple[str, int]]) -> None:
    """Files with the logged model, tags on the version and on the copy that was released of it."""
    from mlflow.tracking import MlflowClient

    client = MlflowClient()
    own = (decision.name, decision.version)
    champion = original_of(decision.released, decision.champion) if decision.champion is not None else None
    if not decision.promoted and champion == own:
        return  # its tags say how it became the champion
    with tempfile.TemporaryDirectory() as folder:
        write_json(Path(folder) / "decision.json", decision.to_json())
        (Path(folder) / "report.md").write_text(decision.to_markdown(), encoding="utf-8")
        place = f"{DECISIONS}/{decision.time.replace(':', '')}"
        if model_id := logged_model_id(version_of(*own)):
            client.log_model_artifacts(model_id, folder, place)
    tags = {
        DECISION: decision.summary,
        "promotion.time": decision.time,
        "promotion.against": str(decision.champion or "none"),
        "promotion.report": place,
        **{f"promotion.gate.{v.gate}": f"{'pass' if v.passed else 'fail'}: {v.reason}" for v in decision.verdicts},
    }
    for name, number in versions:
        for key, value in tags.items():
            client.set_model_version_tag(name, str(number), key, value[:_TAG])


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


def _now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
