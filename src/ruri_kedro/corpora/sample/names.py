"""Names for the made-up world, each given once, from parts that recur."""

from collections.abc import Callable
from random import Random

Name = tuple[str, str]  # as written, as read


class Names:
    """Gives names out; no name is given twice, whatever it names."""

    def __init__(self, table: dict, rng: Random):
        """``table`` is ``names.toml``."""
        self.table = table
        self.rng = rng
        self.given: set[str] = set()
        taken = set(table["taken"])
        pairs = [(a + b, x + y) for a, x in table["roots"] for b, y in table["tails"] if a + b not in taken]
        rng.shuffle(pairs)
        self._pairs = pairs

    def root(self) -> Name:
        """A two-part name no one has yet: of a town, a river, or a family."""
        return self._pairs.pop()

    def once(self, make: Callable[[], str]) -> str:
        """The first name from ``make`` that is new; raises after a thousand attempts."""
        for _ in range(1000):
            name = make()
            if name not in self.given:
                self.given.add(name)
                return name
        raise RuntimeError(f"no new name left like {name!r}; add parts to names.toml")

    def joined(self, heads: str, tails: str, suffix: str = "") -> str:
        """A new name from two word lists of the table."""
        return self.once(lambda: self.rng.choice(self.table[heads]) + self.rng.choice(self.table[tails]) + suffix)

    def person(self, surname: Name, gender: str) -> tuple[str, str]:
        """A new full name and its reading."""
        readings = {}

        def make() -> str:
            head = self.rng.choice(self.table[f"{gender}_heads"])
            tail = self.rng.choice(self.table[f"{gender}_tails"])
            full = surname[0] + head[0] + tail[0]
            readings[full] = f"{surname[1]} {head[1]}{tail[1]}"
            return full

        name = self.once(make)
        return name, readings[name]

    def title(self, form: str, roots: list[str]) -> str:
        """A new title for a work of the given form."""
        words = self.table["titles"]

        def make() -> str:
            one, two = self.rng.sample(words["things"], 2)
            parts = {"thing": one, "thing2": two, "root": self.rng.choice(roots)}
            parts |= {key: self.rng.choice(words[key + "s"]) for key in ("epithet", "animal", "setting")}
            return self.rng.choice(words["patterns"][form]).format(**parts)

        return self.once(make)


def katakana(reading: str) -> str:
    """Hiragana as katakana, the script of species names."""
    return "".join(chr(ord(c) + 0x60) if "ぁ" <= c <= "ゖ" else c for c in reading)
