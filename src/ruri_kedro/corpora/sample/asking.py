"""Questions on the articles, in other words than theirs, each answered by one paragraph."""

import re
from random import Random

from ruri_kedro.corpora.sample.lexicon import Kind, expand, fill, slots
from ruri_kedro.corpora.sample.telling import Article, Told
from ruri_kedro.corpora.sample.world import Entity

_ENDINGS = ("ですか。", "ですか。", "でしょうか。", "か。", "か。", "だろうか。", "？", "ですか？")
_REQUESTS = ("を教えてください。", "を知りたい。", "を教えて。")
_NOUN_QUESTION = re.compile(r"(?<!の)は(どこ|誰|何|何年|何月|何語|どれくらい)$")
_DESCRIBED = 0.42  # share of questions that describe their subject where they can
_BOTH = 0.5  # share of those that name it after the description
_NEAR = 0.7  # share of descriptions by what the same paragraph tells; others may take two articles to follow
_REQUESTED = 0.2  # share of the questions that allow it put as a request
_NAMED = {
    "people": ["{name}", "{name}", "{noun}の{name}", "{noun}・{name}"],
    "places": ["{name}", "{name}", "{province}の{name}"],
    "works": ["{title}", "{title}", "{noun}{title}"],
}


class Descriptions:
    """Which sets of attributes belong to one entity only, so that naming them says which is meant."""

    def __init__(self, entities: list[Entity], kinds: dict[str, Kind]):
        """``entities`` are all that one could be mistaken for."""
        self._kinds = kinds
        self._bearers: dict[tuple, set[str]] = {}
        for entity in entities:
            for relation in kinds[entity.kind].relations.values():
                for template in relation.call + relation.ask.get("name", []):
                    if entity.has(slots(template)):
                        self._bearers.setdefault(_key(template, entity), set()).add(entity.name)

    def unique(self, template: str, entity: Entity) -> bool:
        """Whether the attributes that the template names are those of this entity alone."""
        return entity.has(slots(template)) and len(self._bearers[_key(template, entity)]) == 1

    def describe(self, article: Article, asked: Told, rng: Random) -> str | None:
        """A phrase for the article's entity by what is told of it beside what is ``asked``, or None."""
        entity, near = article.entity, rng.random() < _NEAR
        place = (asked.section, asked.paragraph)
        told = {t.relation: t.slots for t in article.told if not near or (t.section, t.paragraph) == place}
        phrases = []
        for relation in self._kinds[entity.kind].relations.values():
            if relation.name == asked.relation:
                continue
            for template in relation.call:
                # What a person made is told by the work's article where it is not told by the person's.
                elsewhere = relation.name == "known_work" and not near
                named = slots(template) - set(entity.fixed)
                if (elsewhere or named <= told.get(relation.name, set())) and self.unique(template, entity):
                    phrases.append(template)
        return fill(expand(rng.choice(phrases), rng), lambda path: str(entity[path])) if phrases else None


def _key(template: str, entity: Entity) -> tuple:
    named = sorted(slots(template) | {"noun"})
    return (entity.kind, *((slot, str(entity[slot])) for slot in named))


def ask_articles(
    articles: list[Article], descriptions: Descriptions, kinds: dict[str, Kind], split: str, count: int, rng: Random
) -> list[dict]:
    """``count`` question rows, dealt over the articles in turn; fewer where the articles give no more."""
    rows, asked = [], set()
    open_asks = [(article, _asks(article, kinds, rng)) for article in rng.sample(articles, len(articles))]
    while len(rows) < count and any(asks for _, asks in open_asks):
        for article, asks in open_asks:
            row = None
            while asks and row is None:
                row = _ask(article, *asks.pop(), descriptions, kinds, rng)
                if row and row["question"] in asked:
                    row = None
            if row and len(rows) < count:
                asked.add(row["question"])
                rows.append({"qid": f"{split}-{len(rows):05d}", **row})
    return rows


def _asks(article: Article, kinds: dict[str, Kind], rng: Random) -> list[tuple[Told, str]]:
    """What could be asked of the article: a telling and the attribute to ask for, in random order."""
    asks = []
    for told in article.told:
        for slot in kinds[article.entity.kind].relations[told.relation].ask:
            if slot == "name" or slot in told.slots:
                asks.append((told, slot))
    rng.shuffle(asks)
    return asks


def _ask(
    article: Article, told: Told, slot: str, descriptions: Descriptions, kinds: dict[str, Kind], rng: Random
) -> dict | None:
    """The question row for one attribute, or None where no wording fits what the paragraph tells."""
    entity = article.entity
    relation = kinds[entity.kind].relations[told.relation]
    heading, paragraphs = article.sections[told.section]
    context = paragraphs[told.paragraph]
    answer = _answer(entity, slot)
    given = told.slots | set(entity.fixed)
    templates = [t for t in relation.ask[slot] if slots(t) <= given]
    if slot == "name":
        templates = [t for t in templates if descriptions.unique(t, entity)]
    if not templates or answer not in context:
        return None
    subject = _subject(article, told, answer, descriptions, rng)
    asked = expand(rng.choice(templates), rng)
    question = _ended(fill(asked, lambda path: subject if path == "N" else str(entity[path])), rng)
    if answer in question:
        return None
    context_id = f"{article.article_id}-{told.section}-{told.paragraph}"
    row = {"question": question, "answers": [answer], "title": entity.name, "section": heading}
    return row | {"context": context, "context_id": context_id}


def _subject(article: Article, told: Told, answer: str, descriptions: Descriptions, rng: Random) -> str:
    """How the question refers to its subject: by name, by a description, or by both."""
    entity = article.entity
    described = descriptions.describe(article, told, rng) if rng.random() < _DESCRIBED else None
    if described is None or answer in described:
        return fill(rng.choice(_NAMED.get(entity.kind, ["{title}"])), lambda path: str(entity[path]))
    return f"{described}・{entity}" if rng.random() < _BOTH else described


def _answer(entity: Entity, slot: str) -> str:
    value = entity[slot]
    if isinstance(value, Entity):
        return value.name
    if isinstance(value, int):
        return f"{value}{'月' if slot.endswith('month') else '年'}"
    return value


def _ended(question: str, rng: Random) -> str:
    """The question with an ending: polite, plain, or turned into a request."""
    if _NOUN_QUESTION.search(question) and rng.random() < _REQUESTED:
        return _NOUN_QUESTION.sub("", question) + rng.choice(_REQUESTS)
    return question + rng.choice(_ENDINGS)
