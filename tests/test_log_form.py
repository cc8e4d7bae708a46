"""kedro run --log: lines, warnings only, JSON."""

import io
import json
import logging
import sys

import pytest

from ruri_kedro.cli.log_form import show_log_as
from ruri_kedro.cli.run import run


@pytest.fixture
def terminal():
    """A handler as conf/logging.yml gives one to the first logger; what it has shown."""
    root, shown = logging.getLogger(), io.StringIO()
    kept = root.handlers[:], root.level
    handler = logging.StreamHandler(shown)
    root.handlers, root.level = [handler], logging.INFO
    yield shown
    root.handlers, root.level = kept


def test_quiet_shows_warnings_only(terminal):
    show_log_as("quiet")
    logging.getLogger("ruri_kedro.x").info("a step")
    logging.getLogger("ruri_kedro.x").warning("mind this")
    assert terminal.getvalue() == "mind this\n"


def test_json_is_an_object_a_line_whatever_a_message_holds(terminal, monkeypatch):
    errors = io.StringIO()
    monkeypatch.setattr(sys, "stderr", errors)
    show_log_as("json")
    hostile = 'two\nlines, "quotes" and 富士山\u2028'
    logging.getLogger("ruri_kedro.x").info("%s", hostile)
    try:
        raise ValueError("broken")
    except ValueError:
        logging.getLogger("ruri_kedro.x").exception("failed")
    first, second = map(json.loads, errors.getvalue().strip("\n").split("\n"))
    assert (first["level"], first["logger"], first["message"]) == ("INFO", "ruri_kedro.x", hostile)
    assert "ValueError: broken" in second["error"] and second["time"].endswith("+00:00")
    assert terminal.getvalue() == ""


def test_the_option_is_one_of_kedro_run_and_no_parameter_of_it():
    (option,) = (param for param in run.params if param.name == "log")
    assert option.expose_value is False and option.default == "lines"
