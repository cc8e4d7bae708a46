"""Unicode normalisation of every text that enters a table (Ruri, Section 2.1: NFKC, invisible characters)."""

import re
import unicodedata

# Format (Cf), control (Cc), private-use (Co) and surrogate (Cs) characters are invisible. Those that end a line, a page
# or a field (tab, line feed, form feed, NEL ...) are not: they keep words apart and become spaces below.
INVISIBLE = re.compile(
    "["
    "\u0000-\u0008\u000e-\u001b\u007f-\u0084\u0086-\u009f"
    "\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f"
    "\u200b-\u200f\u202a-\u202e\u2060-\u206f\u3164\ufe00-\ufe0f\ufeff\uffa0\ufff0-\ufffb"
    "\ud800-\udfff\ue000-\uf8ff"
    "\U0001bca0-\U0001bca3\U0001d173-\U0001d17a"  # of shorthand and musical notation
    "\U000e0000-\U000e0fff\U000f0000-\U0010ffff"
    "]"
)
SPACES = re.compile(r"[\s\u2800]+")  # U+2800 is the space of braille
_NOT_ALNUM = re.compile(r"[\W_]+")  # what is neither a letter nor a number, as str.isalnum


def normalize(text: str) -> str:
    """NFKC, invisible characters removed, runs of white space as one space, no space at the ends.

    Idempotent and order-preserving.
    """
    # NFKC can turn a visible character into one with a joiner, and removal can bring two together that compose.
    text = INVISIBLE.sub("", unicodedata.normalize("NFKC", text))
    text = unicodedata.normalize("NFKC", text)
    return SPACES.sub(" ", text).strip()


def match_key(text: str) -> str:
    """The form in which two texts count as the same: normalised, lower case, without spaces and punctuation."""
    return _NOT_ALNUM.sub("", normalize(text).casefold())


def is_blank(text: str) -> bool:
    """Whether nothing of the text is left after normalisation."""
    return not normalize(text[:64]) and not normalize(text)
