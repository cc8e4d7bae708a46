"""The answers that were paid for: one JSON line each, on disk before the next request is sent."""

import json
import logging
import os
import threading
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path
from typing import BinaryIO

from ruri_kedro.corpora.synthesis.chat import Answer
from ruri_kedro.errors import DataError
from ruri_kedro.tables.files import sole_user
from ruri_kedro.text.hashing import digest_json

logger = logging.getLogger(__name__)

_NOT_AN_ANSWER = (ValueError, TypeError, KeyError, AttributeError, RecursionError)


class Journal:
    """Answers by the key of their request, in a file that only grows.

    A line that a killed run left half written is cut off. One process at a time may hold the file. In memory stand
    only keys and places, some 150 bytes an answer. Use it as a context manager.
    """

    def __init__(self, path: Path) -> None:
        self.path = Path(path)
        self._lock = threading.Lock()
        self._places: dict[str, int] = {}
        self._file: BinaryIO | None = None
        self._open = ExitStack()  # the file and its lock

    def __enter__(self) -> "Journal":
        self.path.parent.mkdir(parents=True, exist_ok=True)
        busy = DataError(
            f"{self.path}: another run is writing to it. Wait for its end, or name another file in synthesis.journal."
        )
        with ExitStack() as stack:
            stack.enter_context(sole_user(self.path, busy))
            self._file = stack.enter_context(self.path.open("a+b"))
            self._read()
            self._open = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._open.close()

    def __contains__(self, key: str) -> bool:
        return key in self._places

    def __len__(self) -> int:
        return len(self._places)

    def __getitem__(self, key: str) -> Answer:
        with self._lock:
            self._file.seek(self._places[key])
            line = self._file.readline()
        return _entry(line)[1]

    def add(self, key: str, answer: Answer) -> None:
        """Keep an answer; it is on disk when this returns."""
        # What UTF-8 cannot write is replaced first: the checksum is that of what will be read.
        row = json.loads(json.dumps({"key": key, **asdict(answer)}, ensure_ascii=False).encode("utf-8", "replace"))
        line = json.dumps({**row, "check": digest_json(row)}, ensure_ascii=False).encode("utf-8") + b"\n"
        with self._lock:
            self._places[key] = self._file.seek(0, os.SEEK_END)
            self._file.write(line)
            self._file.flush()
            os.fsync(self._file.fileno())

    def _read(self) -> None:
        """Note where each answer stands; cut off what does not end in a line break."""
        self._file.seek(0)
        place = 0
        for number, line in enumerate(self._file, start=1):
            if not line.endswith(b"\n"):
                logger.warning("%s: the last line is not whole and is cut off; its request is sent again.", self.path)
                self._file.truncate(place)
                break
            key = _key_of(line)
            if key is None:
                logger.warning("%s, row %d: damaged, or not an answer; its request is sent again.", self.path, number)
            else:
                self._places[key] = place
            place += len(line)


def _key_of(line: bytes) -> str | None:
    """Key of a journal line; None unless it holds a whole answer as it was written."""
    try:
        return _entry(line)[0]
    except _NOT_AN_ANSWER:
        return None


def _entry(line: bytes) -> tuple[str, Answer]:
    """Key and answer of a journal line. Those of 0.1 have no checksum."""
    row = json.loads(line)
    if row.pop("check", None) not in (None, digest_json(row)):
        raise ValueError("not what was written")
    return row.pop("key"), Answer(**row)
