"""`kedro run --log`: how the terminal shows the log of a run. logs/run.log has every line in any case."""

import json
import logging
import sys
from datetime import UTC, datetime
from typing import Any

import click

_SHOWN = ("", "kedro")  # loggers whose handlers write to the terminal (conf/logging.yml)


class JsonLines(logging.Formatter):
    """A JSON object a line: time (UTC), level, logger, message, and `error` with the traceback of an exception."""

    def format(self, record: logging.LogRecord) -> str:
        """The line of a record."""
        moment = datetime.fromtimestamp(record.created, UTC)
        line: dict[str, Any] = {
            "time": moment.isoformat(timespec="milliseconds"),
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
        }
        if record.exc_info:
            line["error"] = self.formatException(record.exc_info)
        return json.dumps(line, ensure_ascii=False)


def show_log_as(form: str) -> None:
    """Let the terminal show lines for people, warnings only (`quiet`), or JSON on the standard error (`json`)."""
    for name in _SHOWN:
        for handler in logging.getLogger(name).handlers:
            if type(handler) is not logging.StreamHandler:  # one that writes to a file, or that a tool has put there
                continue
            if form == "quiet":
                handler.setLevel(logging.WARNING)
            elif form == "json":
                handler.setStream(sys.stderr)
                handler.setFormatter(JsonLines())


log_option = click.Option(
    ["--log"],
    type=click.Choice(["lines", "quiet", "json"]),
    default="lines",
    show_default=True,
    expose_value=False,
    callback=lambda _context, _option, form: show_log_as(form),
    help="What the terminal shows of the log: a line for each step; warnings only; or JSON on the standard error.",
)
