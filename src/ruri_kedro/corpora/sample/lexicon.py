"""The words of the made-up world, read from the TOML files of this package, and templates turned into text.

A template holds choices ``(a|b)``, which may nest, and slots ``{birthplace}`` or ``{teacher.noun}``.
Four slots stand for the subject: ``{S}`` a topic phrase that may be empty (「宵瀬は」), ``{G}`` a genitive,
``{n}`` a bare mention, ``{N}`` the subject as a question refers to it.
"""

import re
import tomllib
from collections.abc import Callable
from dataclasses import dataclass, field
from importlib import resources
from random import Random

KINDS = ("people", "places", "works", "events", "facilities", "organisations", "nature", "species", "dishes")

_CHOICE = re.compile(r"\(([^()]*)\)")
_SLOT = re.compile(r"\{([A-Za-z0-9_.]+)\}")
_SUBJECT_SLOTS = frozenset("SGnN")

# Endings of a clause and the forms in which it can go on; only verbs whose form the ending settles.
_CONTINUATIVE = {
    "である。": "であり、",
    "ている。": "ており、",
    "がある。": "があり、",
    "なった。": "なり、",
    "した。": "し、",
    "する。": "し、",
    "される。": "され、",
    "られる。": "られ、",
    **{f"{verb}た。": f"{verb}、" for verb in "れけせえめてげ"},
}


@dataclass(frozen=True)
class Relation:
    """One thing that can be told of an entity, asked about it, or used to refer to it.

    ``tell`` are paraphrases of each other but for the slots they fill; ``implies`` and ``deny`` follow from
    and contradict any of them. ``call`` are phrases for the subject, ``ask`` are questions by the slot asked
    for. ``open`` names the slots, or is true of all, that may hold several values at once, so that another
    value is no contradiction. ``swap`` names the slot that can trade places with the subject and give a
    different statement. ``forms`` are the forms of entity it can be told of, all if empty.
    """

    name: str
    tell: list[str] = field(default_factory=list)
    ask: dict[str, list[str]] = field(default_factory=dict)
    call: list[str] = field(default_factory=list)
    implies: list[str] = field(default_factory=list)
    deny: list[str] = field(default_factory=list)
    open: bool | list[str] = False
    swap: str = ""
    forms: tuple[str, ...] = ()


@dataclass(frozen=True)
class Kind:
    """A kind of entity: its forms (novel, film, ...), the values drawn for them, the plan of its articles.

    ``colour`` are remarks by the first relation of a section; the last ``living`` leads are for the living.
    """

    name: str
    category: str
    count: int
    lead: list[str]
    forms: dict[str, dict]
    pick: dict[str, list[str]]
    pick_by_form: dict[str, dict[str, list[str]]]
    sections: dict[str, list[str]]
    colour: dict[str, list[str]]
    relations: dict[str, Relation]
    living: int = 0


def read_toml(name: str) -> dict:
    """The contents of ``<name>.toml`` in this package."""
    return tomllib.loads(resources.files(__package__).joinpath(f"{name}.toml").read_text(encoding="utf-8"))


def read_kinds() -> dict[str, Kind]:
    """Every kind of entity by name, in the order of ``KINDS``."""
    kinds = {}
    for name in KINDS:
        table = read_toml(name)
        relations = {key: Relation(key, **value) for key, value in table.pop("relations").items()}
        table.setdefault("pick", {})
        table.setdefault("pick_by_form", {})
        kinds[name] = Kind(name=name, relations=relations, **table)
    return kinds


def expand(template: str, rng: Random) -> str:
    """The template with every choice made, innermost first."""
    while match := _CHOICE.search(template):
        template = template[: match.start()] + rng.choice(match[1].split("|")) + template[match.end() :]
    return template


def slots(template: str) -> set[str]:
    """The attributes that the template's slots start from, without those that stand for the subject."""
    return {path.split(".")[0] for path in _SLOT.findall(template)} - _SUBJECT_SLOTS


def fill(template: str, value: Callable[[str], str]) -> str:
    """The template with each slot replaced by ``value(path)``."""
    return _SLOT.sub(lambda match: value(match[1]), template)


def continued(sentence: str) -> str | None:
    """The sentence in the form in which another clause can follow, or None where its ending does not tell."""
    for ending, form in _CONTINUATIVE.items():
        if sentence.endswith(ending):
            return sentence.removesuffix(ending) + form
    return None
