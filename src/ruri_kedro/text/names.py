"""What a name of the user's choice may be. Names become folders, files, metrics of MLflow and registered models."""

import re
import unicodedata
from collections.abc import Iterable, Mapping
from typing import Any

from ruri_kedro.errors import RecipeError

_LONGEST = 128  # bytes in UTF-8: with what is put around a name, files have 255, and metrics of MLflow 250 characters
_PLAIN = re.compile(r"[\w-]+")  # letters and digits of any script, as MLflow allows them in the name of a metric
_DOTTED = re.compile(r"[\w.-]+")


def check_names(place: str, names: Iterable[Any], taken: Mapping[str, str] | None = None) -> None:
    """Raise RecipeError for the first name of a block that cannot be one, or that another one leaves no room for.

    `place` is the block. `taken` are names that are derived from others, each with what has it. Names that differ in
    upper and lower case only are one file on macOS and Windows, so they count as the same.
    """
    seen: dict[str, str] = {}
    for name in names:
        check_name(place, name)
        if (other := seen.setdefault(name.casefold(), name)) != name:
            raise RecipeError(
                f"{place}.{name}: differs from '{other}' in upper and lower case only. Rename one of both."
            )
    for derived, owner in (taken or {}).items():
        if name := seen.get(derived.casefold()):
            raise RecipeError(f"{place}.{name}: this name is taken by {owner}. Choose another one.")


def check_name(place: str, name: Any, dots: bool = False) -> None:
    """Raise RecipeError, which names the place and the remedy, for a name that cannot be one. `dots`: may be inside."""
    if not isinstance(name, str):
        raise RecipeError(f"{place}: {_read_as(name)} Write the name in quotes, or choose another one.")
    at = f"{place}: the name {name!r}"
    if not (_DOTTED if dots else _PLAIN).fullmatch(name):
        # A decomposed letter is two characters, of which the second is none of the allowed ones.
        hint = " (in this one, accents or voicing marks stand apart from their letters: compose them, NFC)"
        is_apart = _PLAIN.fullmatch(unicodedata.normalize("NFC", name)) is not None
        allowed = f"letters of any script, digits, _ and -{', and dots inside' if dots else ''}"
        raise RecipeError(f"{at} is not allowed. A name has {allowed}{hint if is_apart else ''}. Rename it.")
    if name[0] in ".-":
        raise RecipeError(f"{at} begins with '{name[0]}'. Begin with a letter, a digit or _.")
    if name != unicodedata.normalize("NFC", name):
        raise RecipeError(f"{at} is not in the composed form of Unicode (NFC). Type it again.")
    if (size := len(name.encode())) > _LONGEST:
        raise RecipeError(f"{at} has {size} bytes in UTF-8, allowed are {_LONGEST}. Shorten it.")


def listed_names(place: str, given: Any) -> list[str]:
    """The names in a text, with spaces or commas between them, or in a list; none for null.

    Numbers are names here, since --params reads only=2024 as one.
    """
    if given is None:
        return []
    if isinstance(given, bool | Mapping):
        raise RecipeError(f"{place}: {given} given. Give names with a space between them.")
    parts = given if isinstance(given, list | tuple) else str(given).replace(",", " ").split()
    return [unicodedata.normalize("NFC", str(name)) for name in parts]


def _read_as(name: Any) -> str:
    if name is None:
        return "a name is missing, or YAML reads it as null."
    kind = "true or false (as it does yes, no, on and off)" if isinstance(name, bool) else "a number"
    return f"YAML reads the name {str(name).lower()} as {kind}."
