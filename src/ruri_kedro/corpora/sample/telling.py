"""Entities told as encyclopaedia articles, and single statements for the tables of sentence pairs."""

import re
from dataclasses import dataclass, field
from random import Random

from ruri_kedro.corpora.sample.lexicon import Kind, Relation, continued, expand, fill, slots
from ruri_kedro.corpora.sample.world import Entity

SHORTEST, LONGEST = 60, 250  # characters of a paragraph
_MOST_PARAGRAPHS = 3  # of a section
_SUBJECT = re.compile(r"\{[SGn]\}")
# A clause whose topic is something of the subject (「雅号は」), not a time or a stage (「若い頃は」).
_OF_SUBJECT = re.compile(
    r"(?!.{0,5}(?:頃|初|かつて|もと|で|年|て)は)"
    r"(?:\{(?:maker|home|part|season_of|partner)\}|[^、。はがをに{]{1,9}(?<!の))は"
)


@dataclass(frozen=True)
class Told:
    """That a paragraph tells a relation of the article's entity, naming the values of ``slots``."""

    relation: str
    slots: frozenset[str]
    section: int
    paragraph: int


@dataclass
class Article:
    """An article: ``sections`` are (heading, paragraphs); ``told`` says which fact stands where."""

    article_id: str
    entity: Entity
    abstract: str
    sections: list[tuple[str, list[str]]] = field(default_factory=list)
    told: list[Told] = field(default_factory=list)


def tellable(entity: Entity, relation: Relation) -> list[str]:
    """The templates of the relation whose slots the entity can fill."""
    if relation.forms and entity.form not in relation.forms:
        return []
    return [template for template in relation.tell if entity.has(slots(template))]


def full_voice(entity: Entity) -> dict[str, str]:
    """The subject slots filled with the full name, as in a sentence that stands alone."""
    return {"S": f"{entity}は", "G": f"{entity}の", "n": str(entity)}


def state(template: str, entity: Entity, voice: dict[str, str], other: dict | None = None) -> str:
    """The expanded template as a sentence about the entity; ``other`` values replace its own."""
    other = other or {}

    def value(path: str) -> str:
        if path in voice:
            return voice[path]
        first, _, rest = path.partition(".")
        if first in other:
            return str(other[first][rest] if rest else other[first])
        return str(entity[path])

    sentence = fill(template, value)
    # A template may separate its topic by a comma; without a topic the comma goes too.
    return sentence.removeprefix("、")


def alone(template: str, rng: Random) -> str:
    """The template expanded, with a slot for its subject where it has none, to make a sentence on its own."""
    expanded = expand(template, rng)
    if _SUBJECT.search(expanded):
        return expanded
    return ("{G}" if _OF_SUBJECT.match(expanded) else "{S}、") + expanded


def state_alone(template: str, entity: Entity, rng: Random, other: dict | None = None) -> str:
    """A sentence that names the entity in full."""
    return state(alone(template, rng), entity, full_voice(entity), other)


def tell_article(article_id: str, entity: Entity, kind: Kind, rng: Random) -> Article:
    """The entity's article: a lead, then its sections with most of what can be told of it."""
    article = Article(article_id, entity, _abstract(entity, kind, rng))
    heading, facts, remarks = "", [], []
    for title, names in kind.sections.items():
        relations = [kind.relations[name] for name in names if name not in entity.untold]
        found = [r for r in relations if tellable(entity, r) and rng.random() < 0.82]
        if not found:
            continue
        if rng.random() < 0.3:
            rng.shuffle(found)
        title, kept = expand(title, rng), _remarks(kind, names[0], rng)
        if facts and "と" not in heading + title and rng.random() < 0.5:
            heading, facts, remarks = f"{heading}と{title}", facts + found, remarks + kept
            continue
        if facts:
            _tell_section(article, heading, facts, remarks, rng)
        heading, facts, remarks = title, found, kept
    _tell_section(article, heading, facts, remarks, rng)
    return article


def _remarks(kind: Kind, section: str, rng: Random) -> list[str]:
    """Remarks to take from the end: those of the section, and before them one of each other section."""
    others = [rng.choice(remarks) for subject, remarks in kind.colour.items() if subject != section]
    return others + rng.sample(kind.colour[section], len(kind.colour[section]))


def _abstract(entity: Entity, kind: Kind, rng: Random) -> str:
    leads = kind.lead
    if kind.living:
        leads = leads[: -kind.living] if entity.has(["died"]) else leads[-kind.living :]
    leads = [lead for lead in leads if entity.has(slots(lead))]
    return state(expand(rng.choice(leads), rng), entity, full_voice(entity))


def _tell_section(article: Article, heading: str, facts: list, remarks: list[str], rng: Random) -> None:
    """Add one section: sentences on the facts with remarks between them, cut into paragraphs."""
    entity, remarks = article.entity, list(remarks)
    queue: list = list(facts)
    for _ in range(1 + len(facts) // 6 + rng.randint(0, 1)):
        queue.insert(rng.randint(1, len(queue)), remarks.pop())
    paragraphs, told, target = [[]], [], rng.randint(75, 150)
    while queue:
        if len(paragraphs[-1]) > 1 and len("".join(paragraphs[-1])) >= target:
            if len(paragraphs) == _MOST_PARAGRAPHS:
                break
            paragraphs.append([])
            target = rng.randint(75, 150)
        sentence, tellings = _next_sentence(entity, queue, _voice(entity, not paragraphs[-1], rng), rng)
        paragraphs[-1].append(sentence)
        told += [(relation, named, len(paragraphs) - 1) for relation, named in tellings]
    while len(paragraphs[-1]) < 2 or len("".join(paragraphs[-1])) < SHORTEST:
        paragraphs[-1].append(state(expand(remarks.pop(), rng), entity, _voice(entity, False, rng)))
    number = len(article.sections)
    article.sections.append((heading, ["".join(sentences) for sentences in paragraphs]))
    article.told += [Told(relation, named, number, where) for relation, named, where in told]


def _voice(entity: Entity, first: bool, rng: Random) -> dict[str, str]:
    """How a sentence mentions its subject: by name, by pronoun, or, as topic, not at all."""
    name, pronoun = entity.short or str(entity), rng.choice(entity.pronouns)
    mention = name if rng.random() < (0.5 if first else 0.15) else pronoun
    silent = rng.random() < (0.2 if first else 0.55)
    return {"S": "" if silent else f"{mention}は", "G": f"{mention}の", "n": mention}


def _next_sentence(entity: Entity, queue: list, voice: dict, rng: Random) -> tuple[str, list]:
    """The sentence for the head of the queue, two facts in one where they join, and what it tells."""
    item = queue.pop(0)
    if isinstance(item, str):
        return state(expand(item, rng), entity, voice), []
    template = expand(rng.choice(tellable(entity, item)), rng)
    sentence = state(template, entity, voice)
    tellings = [(item.name, frozenset(slots(template)))]
    begun = continued(sentence) if template.startswith("{S}") else None
    if begun and queue and isinstance(queue[0], Relation) and rng.random() < 0.45:
        follow = [t for t in tellable(entity, queue[0]) if t.startswith("{S}") and not t.startswith("{S}、")]
        if follow:
            second = expand(rng.choice(follow), rng)
            tellings.append((queue.pop(0).name, frozenset(slots(second))))
            return begun + state(second, entity, voice | {"S": ""}), tellings
    return sentence, tellings
