"""Questions on the articles, in other words than theirs, each answered by one paragraph."""

import re
from random import Random

from ruri_kedro.corpora.sample.lexicon import Kind, expand, fill, slots
from ruri_kedro.corpora.sample.telling import Article, Told
from ruri_kedro.corpora.sample.world import Entity

_ENDINGS = ("ですか。", "ですか。", "でしょうか。", "か。", "か。", "だろうか。", "？", "ですか？")
_NOUN_QUESTION = re.compile(r"(?<!の)は(どこ|誰|何|何年|何月|何語|どれくらい)$")
_DESCRIBED = 0.3  # share of questions that describe their subject where they can, instead of naming it
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

    def describe(self, article: Article, but: str, rng: Random) -> str | None:
        """A phrase for the article's entity by what is told of it, other than the relation ``but``; or None."""
        entity = article.entity
        told = {one.relation: one.slots for one in article.told}
        phrases = []
        for relation in self._kinds[entity.kind].relations.values():
            if relation.name == but:
                continue
            for template in relation.call:
                # What a person made is told by the work's article where it is not told by the person's.
                known = relation.name == "known_work" or slots(template) - set(entity.fixed) <= told.get(relation.name, set())
                if known and self.unique(template, entity):
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
    subject = descriptions.describe(article, relation.name, rng) if rng.random() < _DESCRIBED else None
    if subject is None or answer in subject:
        subject = fill(rng.choice(_NAMED.get(entity.kind, ["{title}"])), lambda path: str(entity[path]))
    asked = expand(rng.choice(templates), rng)
    question = _ended(fill(asked, lambda path: subject if path == "N" else str(entity[path])), rng)
    if answer in question:
        return None
    context_id = f"{article.article_id}-{told.section}-{told.paragraph}"
    row = {"question": question, "answers": [answer], "title": entity.name, "section": heading}
    return row | {"context": context, "context_id": context_id}


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
        return _NOUN_QUESTION.sub("", question) + rng.choice(["を教えてください。", "を知りたい。", "を教えて。"])
    return question + rng.choice(_ENDINGS)
