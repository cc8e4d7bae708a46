"""A set of synthetic rows: excerpts drawn, asked about, checked, scored, written."""

import json
import logging
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

from ruri_kedro.corpora.reading import drafts, file_digests
from ruri_kedro.corpora.synthesis.answers import parse_fields, parse_score
from ruri_kedro.corpora.synthesis.chat import Answer, Prompt, Request
from ruri_kedro.corpora.synthesis.choose import choose
from ruri_kedro.corpora.synthesis.items import UNANSWERED, Item, drop_lowest, left, write_items
from ruri_kedro.corpora.synthesis.journal import Journal
from ruri_kedro.corpora.synthesis.session import Session
from ruri_kedro.corpora.synthesis.settings import Settings, WantedSet
from ruri_kedro.corpora.synthesis.tasks import require_answer
from ruri_kedro.corpora.synthesis.usage import Usage
from ruri_kedro.errors import DataError
from ruri_kedro.models.reference import folder_digest
from ruri_kedro.tables.checksums import is_current, write_manifest
from ruri_kedro.tables.code import behaviour_digest
from ruri_kedro.tables.files import read_json, remove_leftovers, replace_dir, write_json
from ruri_kedro.tables.store import key_of

logger = logging.getLogger(__name__)

REPORT = "report.json"


def build_set(wanted: WantedSet, session: Session, root: Path, folder: Path) -> None:
    """Write a set into `folder`, unless it is there already.

    `rows.jsonl.gz` holds rows of the set's kind, `rejects.jsonl.gz` what gave none, with reason and raw answer,
    `report.json` the counts; all in the order in which the excerpts were drawn, whatever the order of the answers.
    A set in which requests stayed without an answer is written, and made again by the next run. Raises DataError,
    RecipeError and SynthesisError; what was answered until then is in the journal.
    """
    settings = session.settings
    key = _key(wanted, settings, root)
    if is_current(folder, key):
        remove_leftovers(folder)
        logger.info("%s: is there already, nothing is sent.", wanted.name)
        return
    items = _draw(wanted, settings.seed, root)
    with Journal(Path(settings.journal)) as journal:
        used = _Making(wanted, session, journal).run(items)
    with replace_dir(folder) as aside:
        report = {"model": settings.model.name, **write_items(items, wanted.row.task, aside), "tokens": asdict(used)}
        is_complete = UNANSWERED not in report["rejects"]
        write_json(aside / REPORT, report)
        write_manifest(aside, {"key": key if is_complete else None, "rows": report["rows"]})
    _say(wanted.name, report, used.said(settings.prices), folder)


def read_reports(folder: Path, settings: Settings, sets: Sequence[WantedSet]) -> dict[str, Any]:
    """The report of each set, with the cost of all its tokens."""
    reports = {wanted.name: read_json(folder / wanted.name / REPORT) for wanted in sets}
    for report in reports.values():
        report["cost"] = Usage(**report["tokens"]).cost(settings.prices)
    return reports


@dataclass
class _Making:
    """The steps from excerpts to scored fields, of one set."""

    wanted: WantedSet
    session: Session
    journal: Journal
    used: Usage = Usage()  # noqa: RUF009 - frozen

    def run(self, items: Sequence[Item]) -> Usage:
        """Fill the items in; the tokens that all their answers took."""
        answers = self._ask(items, self.wanted.row.prompt, self.wanted.name)
        for item, answer in zip(items, answers, strict=True):
            item.raw = answer.text if isinstance(answer, Answer) else ""
            item.take(answer, partial(self._read, item))
        score = self.wanted.row.score
        if score is not None:
            self._score_self(left(items)) if score.by == "self" else self._score_reward(left(items))
            drop_lowest(items, score.drop)
        return self.used

    def _request(self, item: Item, prompt: Prompt) -> Request:
        return self.session.request(prompt, item.values())

    def _ask(self, items: Sequence[Item], prompt: Prompt, label: str) -> list[Answer | str]:
        answers = self.session.ask([partial(self._request, item, prompt) for item in items], self.journal, label)
        self.used = self.used.plus(Usage.of(answer for answer in answers if isinstance(answer, Answer)))
        return answers

    def _read(self, item: Item, answer: Answer) -> None:
        fields = parse_fields(answer, self.wanted.row.task.fields)
        self.wanted.row.task.check(item.excerpt, fields)
        if self.wanted.row.answer_in_passage:
            require_answer(item.excerpt, fields)
        item.fields = fields

    def _score_self(self, items: Sequence[Item]) -> None:
        """The writing model scores what it wrote."""
        score = self.wanted.row.score

        def read(item: Item, answer: Answer) -> None:
            item.score = parse_score(answer, score.lowest, score.highest)

        answers = self._ask(items, score.prompt, f"{self.wanted.name}, scores")
        for item, answer in zip(items, answers, strict=True):
            item.take(answer, partial(read, item))

    def _score_reward(self, items: Sequence[Item]) -> None:
        """A reward model scores each answer to its prompt."""
        from ruri_kedro.corpora.synthesis.local import RewardModel

        exchanges = [
            (self._request(item, self.wanted.row.prompt), json.dumps(item.fields, ensure_ascii=False)) for item in items
        ]
        for item, score in zip(items, RewardModel(self.wanted.row.score).scores(exchanges), strict=True):
            if math.isfinite(score):
                item.score = round(float(score), 6)
            else:
                item.reason, item.detail = "no_score", f"the reward model gave {score}"


def _draw(wanted: WantedSet, seed: int, root: Path) -> list[Item]:
    """The excerpts of a set."""
    texts = (draft.positive for _, draft in drafts(wanted.source, root))
    excerpts = choose(texts, wanted.row.task.cut, wanted.row, seed)
    if not excerpts:
        raise DataError(
            f"synthesis.sets.{wanted.name}: no excerpt of {wanted.source.path} has {wanted.row.min_chars} to "
            f"{wanted.row.max_chars} characters. Look at the file, at min_chars and max_chars."
        )
    if len(excerpts) < wanted.row.count:
        logger.warning(
            "%s: %s has %d excerpts, not the %d of synthesis.sets.%s.count.",
            wanted.name, wanted.source.path, len(excerpts), wanted.row.count, wanted.name,
        )  # fmt: skip
    return [Item(excerpt, excerpt.docid(wanted.name)) for excerpt in excerpts]


def _key(wanted: WantedSet, settings: Settings, root: Path) -> str:
    """Key of everything the rows depend on; addresses, prices and limits are not part of it."""
    score = wanted.row.score
    reward = score.name if score and score.by == "reward" else None
    return key_of(
        parameters=wanted.given,
        seed=settings.seed,
        model=settings.model.identity,
        options=settings.model.options,
        reward=reward and folder_digest(Path(reward)),
        files=file_digests(wanted.source, root),
        code=behaviour_digest(build_set),
    )


def _say(name: str, report: dict[str, Any], used: str, folder: Path) -> None:
    """The result in one line, and what is left to do."""
    rejects = ", ".join(f"{reason} {count}" for reason, count in report["rejects"].items())
    logger.info(
        "%s: %d rows of %d excerpts (no row: %s); %s. In %s.",
        name, report["rows"], report["excerpts"], rejects or "none", used, folder,
    )  # fmt: skip
    if UNANSWERED in report["rejects"]:
        logger.warning("%s: run again to ask once more for those without an answer.", name)
    if not report["rows"]:
        logger.warning("%s: no answer gave a row. See %s for what came.", name, folder / "rejects.jsonl.gz")
