"""A region of the made-up world: its entities and their attributes.

A region is closed: whatever an entity is related to lies in the same region, so that texts of two regions
share no names.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from random import Random

PRESENT = 2020


@dataclass(eq=False)
class Entity:
    """A thing of the world with the attributes that relations fill their slots from.

    ``fixed`` names the attributes that come with the form and say nothing of this entity alone;
    ``untold`` names relations that another article tells, so that each fact stands in one article.
    """

    kind: str
    form: str
    name: str
    reading: str = ""
    short: str = ""
    pronouns: list[str] = field(default_factory=list)
    fixed: tuple[str, ...] = ()
    attributes: dict = field(default_factory=dict)
    untold: set[str] = field(default_factory=set)

    def __str__(self) -> str:
        return f"『{self.name}』" if self.kind == "works" else self.name

    def __getitem__(self, path: str):
        """The attribute at ``path``, such as ``teacher.noun``; raises KeyError where there is none."""
        first, _, rest = path.partition(".")
        if first in ("name", "reading"):
            return getattr(self, first)
        if first == "title":
            return str(self)
        value = self.attributes[first]
        return value[rest] if rest else value

    def has(self, paths: Iterable[str]) -> bool:
        """Whether every one of ``paths`` leads to an attribute."""
        try:
            return all(self[path] is not None for path in paths)
        except KeyError:
            return False

    def assign(self, **attributes) -> None:
        """Set the attributes that are not None."""
        self.attributes |= {key: value for key, value in attributes.items() if value is not None}


@dataclass
class World:
    """The entities of one region by kind, in a fixed order."""

    region: str
    entities: dict[str, list[Entity]] = field(default_factory=dict)

    def all(self) -> list[Entity]:
        """Every entity, kind by kind."""
        return [entity for group in self.entities.values() for entity in group]

    def of(self, kind: str, *forms: str) -> list[Entity]:
        """The entities of a kind, of the given forms if any are named."""
        return [entity for entity in self.entities[kind] if not forms or entity.form in forms]

    def adults(self, year: int, *forms: str) -> list[Entity]:
        """The people who were grown up and alive in ``year``."""
        people = self.of("people", *forms)
        return [p for p in people if p["born"] + 24 <= year <= p.attributes.get("died", PRESENT)]


def other_value(world: World, entity: Entity, slot: str, rng: Random):
    """A value that the attribute could have had but has not; None where the region shows no other."""
    value = entity[slot]
    if isinstance(value, int):
        if slot.endswith("month"):
            return (value + rng.randint(0, 10)) % 12 + 1
        # What mends an earlier damage or gap stays after it.
        years = rng.choice([1] if slot in ("rebuilt", "revived") else [-1, 1]) * rng.randint(2, 14)
        return value + years if value + years <= PRESENT else value - years
    alike = [e[slot] for e in world.of(entity.kind, entity.form) if e is not entity and e.has([slot])]
    values = [other for other in alike if str(other) != str(value) and other is not entity]
    return rng.choice(values) if values else None
