"""Which texts are worth keeping: by language, by length, and no boilerplate. Strings in, truth values out."""

import re
from collections.abc import Iterable, Iterator
from typing import Literal

from ruri_kedro.recipe.parse import Share, Size, parameters

# Letters by script. Kanji are shared with Chinese, so Japanese also wants kana.
_SCRIPTS = {
    "kana": re.compile(r"[\u3041-\u3096\u309d-\u309f\u30a1-\u30fa\u30fc-\u30ff\uff66-\uff9f]"),
    "kanji": re.compile(r"[\u3005-\u3007\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff]"),
    "latin": re.compile(r"[A-Za-z\u00c0-\u00d6\u00d8-\u00f6\u00f8-\u024f\uff21-\uff3a\uff41-\uff5a]"),
    "cyrillic": re.compile(r"[\u0400-\u052f]"),
}
_LANGUAGES = {
    "ja": (("kana", "kanji"), "kana"),
    "en": (("latin",), "latin"),
    "ru": (("cyrillic",), "cyrillic"),
}
LANGUAGES = tuple(_LANGUAGES)

# What pages repeat around their text. A short text that has one of these is boilerplate, a long one may quote it.
_PHRASES = re.compile(
    r"all rights reserved|copyright ?(?:\(c\)|©)|©|利用規約|プライバシーポリシー|個人情報保護方針|無断転載|cookie"
    r"|javascript|ログインして|会員登録|続きを読む|もっと見る|ページの先頭|前のページ|次のページ|サイトマップ",
    re.IGNORECASE,
)
_ADDRESS = re.compile(r"(?:https?://|www\.)\S+")
_SHORT = 80  # characters
_LEAST_LETTERS = 0.4  # of the characters that are not spaces


@parameters
class TextFilter:
    """The rules of a source: which texts are kept. Without a rule every text is."""

    language: Literal[LANGUAGES] | None = None
    min_share: Share = 0.5  # of the letters are of its scripts
    min_chars: Size = 0
    max_chars: Size | None = None
    boilerplate: bool = True  # whether boilerplate is kept too


def refusal(text: str, rules: TextFilter) -> str | None:
    """The first rule that the text does not pass, under its name in a recipe; None if it passes all."""
    if len(text) < rules.min_chars:
        return "min_chars"
    if not has_length(text, rules.min_chars, rules.max_chars):
        return "max_chars"
    if rules.language is not None and not is_language(text, rules.language, rules.min_share):
        return "language"
    return None if rules.boilerplate or not is_boilerplate(text) else "boilerplate"


def kept(texts: Iterable[str], rules: TextFilter) -> Iterator[str]:
    """The texts that pass, in their order. Idempotent."""
    return (text for text in texts if refusal(text, rules) is None)


def has_length(text: str, min_chars: int = 0, max_chars: int | None = None) -> bool:
    """Whether the text has at least and at most so many characters."""
    return min_chars <= len(text) and (max_chars is None or len(text) <= max_chars)


def script_share(text: str, *scripts: str) -> float:
    """Share of the letters that are of the scripts (kana, kanji, latin, cyrillic); 0 without a letter."""
    letters = sum(char.isalpha() for char in text)
    return min(1.0, sum(len(_SCRIPTS[script].findall(text)) for script in scripts) / letters) if letters else 0.0


def is_language(text: str, language: str, min_share: float = 0.5) -> bool:
    """Whether enough of the letters are of the language's scripts, and one of that which is its own.

    A guess by script: it tells Japanese from Chinese by kana, and neither English from French nor Russian from
    Bulgarian.
    """
    scripts, own = _LANGUAGES[language]
    return script_share(text, *scripts) >= min_share and _SCRIPTS[own].search(text) is not None


def is_boilerplate(text: str) -> bool:
    """Whether the text is an address, hardly letters, or short and one of the phrases that pages repeat."""
    rest = _ADDRESS.sub("", text)
    characters = [char for char in rest if not char.isspace()]
    letters = sum(char.isalpha() for char in characters)
    if not characters or letters < _LEAST_LETTERS * len(characters):
        return True
    return len(text) <= _SHORT and _PHRASES.search(rest) is not None
