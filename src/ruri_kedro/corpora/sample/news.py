"""News about the made-up world: a headline and a short report with a date line."""

from random import Random

from ruri_kedro.corpora.sample.lexicon import expand, fill, read_toml, slots
from ruri_kedro.corpora.sample.world import PRESENT, Entity, World

_MADE_UP = {"month", "day", "count", "few", "who", "age", "at"}


def report(world: World, split: str, count: int, rng: Random) -> list[dict]:
    """``count`` news rows, each kind of story in turn about some entity of its kind."""
    table = read_toml("news")
    rows, texts = [], set()
    number = 0
    while len(rows) < count:
        story = table["story"][number % len(table["story"])]
        number += 1
        entities = [e for e in world.of(story["kind"], *story.get("forms", [])) if _fits(e, story)]
        if not entities:
            continue
        title, text = _write(rng.choice(entities), story, table, rng)
        if text not in texts:
            texts.add(text)
            rows.append({"docid": f"news-{split}-{len(rows):04d}", "title": title, "text": text})
    return rows


def _fits(entity: Entity, story: dict) -> bool:
    """Whether the entity has the attributes of at least one wording of every part."""
    parts = [story["headline"], *story["body"], [story["at"]]]
    return entity.has([story["since"]]) and all(_usable(entity, part) for part in parts)


def _usable(entity: Entity, wordings: list[str]) -> list[str]:
    return [wording for wording in wordings if entity.has(slots(wording) - _MADE_UP)]


def _write(entity: Entity, story: dict, table: dict, rng: Random) -> tuple[str, str]:
    """The headline and the text of one report."""
    years = (PRESENT - entity[story["since"]]) // 5 * 5
    made_up = {
        "month": rng.randint(1, 12),
        "day": rng.randint(1, 28),
        "count": rng.randint(12, 480),
        "few": rng.randint(2, 9),
        "who": rng.choice(table["who"]),
        "age": rng.randrange(5, max(years, 5) + 1, 5),
    }

    def value(path: str) -> str:
        return str(made_up[path] if path in made_up else entity[path])

    made_up["at"] = fill(story["at"], value)
    title = fill(expand(rng.choice(_usable(entity, story["headline"])), rng), value)
    sentences = [expand(rng.choice(_usable(entity, part)), rng) for part in story["body"]]
    return title, fill(rng.choice(table["dateline"]) + "".join(sentences), value)
