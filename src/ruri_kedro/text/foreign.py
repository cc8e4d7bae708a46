"""What others say, for a terminal: one line, without control characters and tokens."""

import re

from ruri_kedro.text.normalize import INVISIBLE, SPACES

_TOKEN = re.compile(r"\bhf_\w{6,}|(?<=Bearer )\S+")  # of the hub, as a server may send it back


def one_line(text: str, longest: int = 200) -> str:
    """A text of others as one line of visible characters, `longest` at most."""
    return SPACES.sub(" ", INVISIBLE.sub("", text[: 4 * longest])).strip()[:longest]


def said(error: Exception, longest: int = 200) -> str:
    """The first line of what an error says; tokens are left out."""
    return one_line(_TOKEN.sub("***", str(error).strip().partition("\n")[0]), longest).rstrip(".")
