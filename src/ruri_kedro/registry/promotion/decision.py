"""A decision about a challenger, and how it is put on record: tags of the version, files with its logged model."""

import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from ruri_kedro.registry.evidence.evidence import DECISIONS
from ruri_kedro.registry.promotion.gates import Verdict
from ruri_kedro.registry.runs.tracking import mlflow_client
from ruri_kedro.registry.versions.registered import logged_model_id, version_of
from ruri_kedro.tables.files import write_json
from ruri_kedro.text.hashing import digest_json
from ruri_kedro.text.layout import markdown_table

# What the tag `promotion.decision` says, beside refusals.
PROMOTED = "promoted"
PROMOTING = "passed, being promoted"  # until the alias has moved
INTERRUPTED = "passed, not promoted: interrupted"
ROLLING_BACK = "being rolled back to version "
REPLACED = "promotion.replaced"  # tag of a version: number of the champion whose place it took
_TAG = 5000  # characters that MLflow takes


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
        return PROMOTED if self.promoted else f"refused: {', '.join(failed)}"

    def to_json(self) -> dict[str, Any]:
        """The decision as JSON values."""
        return {"decision": self.summary, "promoted": self.promoted, **asdict(self)}

    def to_markdown(self) -> str:
        """The decision for people: a line per gate."""
        other = "version" if self.released == self.name else f"{self.released} version"
        against = f"{other} {self.champion}" if self.champion else "no champion yet"
        rows = [(each.gate, "pass" if each.passed else "**fail**", each.reason) for each in self.verdicts]
        title = f"# {self.name} version {self.version}: {'promoted' if self.promoted else 'refused'}"
        table = markdown_table(("gate", "verdict", "reason"), rows)
        return f"{title}\n\nJudged on {self.time} against {against}.\n\n{table}\n"


def record_files(decision: Decision) -> dict[str, str]:
    """Log a decision as files with the logged model; gives the tags that tell of it, all but the decision itself."""
    # Two decisions of the same second have folders of their own.
    place = f"{DECISIONS}/{decision.time.replace(':', '')}-{digest_json(decision.to_json())[:8]}"
    with tempfile.TemporaryDirectory() as folder:
        write_json(Path(folder) / "decision.json", decision.to_json())
        (Path(folder) / "report.md").write_text(decision.to_markdown(), encoding="utf-8")
        if model_id := logged_model_id(version_of(decision.name, decision.version)):
            mlflow_client().log_model_artifacts(model_id, folder, place)
    return {
        "promotion.time": decision.time,
        "promotion.against": str(decision.champion or "none"),
        "promotion.report": place,
        **{f"promotion.gate.{v.gate}": f"{'pass' if v.passed else 'fail'}: {v.reason}" for v in decision.verdicts},
    }


def write_tags(versions: Sequence[tuple[str, int]], tags: Mapping[str, str]) -> None:
    """Set tags on versions, one version after the other."""
    client = mlflow_client()
    for name, number in versions:
        for key, value in tags.items():
            client.set_model_version_tag(name, str(number), key, value[:_TAG])


def utc_now() -> str:
    """The time to the second, UTC."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
