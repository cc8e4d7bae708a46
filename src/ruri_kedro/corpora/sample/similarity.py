"""Pairs of sentences graded by shared meaning, and sentences with their edited form."""

from random import Random

from ruri_kedro.corpora.sample.inference import draw_fact
from ruri_kedro.corpora.sample.lexicon import Kind, Relation, continued, expand, slots
from ruri_kedro.corpora.sample.telling import alone, full_voice, state, state_alone, tellable
from ruri_kedro.corpora.sample.world import Entity, World, other_value

Pair = tuple[str, str, float]


def grade(world: World, kinds: dict[str, Kind], count: int, rng: Random) -> list[dict]:
    """``count`` pairs, as many of each grade from 0 to 5; scores waver by 0.2, as readers' do."""
    makers = (_unrelated, _same_kind, _same_subject, _other_participant, _other_detail, _paraphrase)
    rows, seen = [], set()
    while len(rows) < count:
        pair = makers[len(rows) % len(makers)](world, kinds, rng)
        if pair is None or pair[0] == pair[1] or pair[:2] in seen:
            continue
        seen.add(pair[:2])
        score = min(5.0, max(0.0, pair[2] + rng.choice([-0.2, 0.0, 0.0, 0.2])))
        rows.append({"text1": pair[0], "text2": pair[1], "score": round(score, 1)})
    return rows


def edit(world: World, kinds: dict[str, Kind], count: int, rng: Random) -> list[dict]:
    """``count`` sentences with a later version: something added, a value corrected, or a word replaced."""
    makers = (_with_more, _corrected, _reworded, _with_more)
    rows, seen = [], set()
    while len(rows) < count:
        pair = makers[len(rows) % len(makers)](world, *draw_fact(world, kinds, rng), kinds, rng)
        if pair and pair[0] != pair[1] and pair not in seen:
            seen.add(pair)
            rows.append({"text1": pair[0], "text2": pair[1]})
    return rows


def _shared(texts: tuple) -> float:
    """How much of two sentences is the same, by pairs of characters."""
    one, two = ({text[i : i + 2] for i in range(len(text) - 1)} for text in texts[:2])
    return len(one & two) / len(one | two)


def _numeric(value) -> bool:
    """Whether the value is a year or an amount: a detail rather than a participant."""
    return isinstance(value, int) or (isinstance(value, str) and value[0].isdigit())


def _two_wordings(entity: Entity, relation: Relation, rng: Random) -> tuple[str, str] | None:
    """Two templates of the relation that name the same attributes."""
    first = rng.choice(tellable(entity, relation))
    same = [t for t in tellable(entity, relation) if t != first and slots(t) == slots(first)]
    return (first, rng.choice(same)) if same else None


def _paraphrase(world: World, kinds: dict[str, Kind], rng: Random) -> Pair | None:
    entity, relation = draw_fact(world, kinds, rng)
    wordings = _two_wordings(entity, relation, rng)
    if wordings is None:
        return None
    pairs = [tuple(state_alone(wording, entity, rng) for wording in wordings) for _ in range(4)]
    # The pair with least in common, so that shared words do not give the grade away.
    return (*min(pairs, key=_shared), 5.0)


def _changed(world: World, kinds: dict[str, Kind], numeric: bool, rng: Random) -> tuple[str, str] | None:
    """A fact, and the same fact with another value, in the same or in other words."""
    entity, relation = draw_fact(world, kinds, rng)
    first = rng.choice(tellable(entity, relation))
    second = rng.choice([t for t in tellable(entity, relation) if slots(t) == slots(first)])
    changeable = [s for s in sorted(slots(first) - set(entity.fixed)) if _numeric(entity[s]) == numeric]
    if not changeable:
        return None
    slot = rng.choice(changeable)
    value = other_value(world, entity, slot, rng)
    if value is None:
        return None
    return state_alone(first, entity, rng), state_alone(second, entity, rng, {slot: value})


def _other_detail(world: World, kinds: dict[str, Kind], rng: Random) -> Pair | None:
    pair = _changed(world, kinds, True, rng)
    return (*pair, 4.0) if pair else None


def _other_participant(world: World, kinds: dict[str, Kind], rng: Random) -> Pair | None:
    """The same of another subject, with another object, or with subject and object in each other's place."""
    chance = rng.random()
    if chance < 0.5:
        pair = _changed(world, kinds, False, rng)
        return (*pair, 3.0) if pair else None
    entity, relation = draw_fact(world, kinds, rng)
    template = rng.choice(tellable(entity, relation))
    if relation.swap and chance < 0.75:
        partner = entity[relation.swap]
        if not isinstance(partner, Entity) or partner.form != entity.form:
            return None
        swapped = state(alone(template, rng), entity, full_voice(partner), {relation.swap: entity})
        return (state_alone(template, entity, rng), swapped, 3.0)
    other = rng.choice(world.of(entity.kind, entity.form))
    if other is entity:
        return None
    second = rng.choice([t for t in tellable(entity, relation) if slots(t) == slots(template)])
    return (state_alone(template, entity, rng), state(alone(second, rng), entity, full_voice(other)), 2.8)


def _same_subject(world: World, kinds: dict[str, Kind], rng: Random) -> Pair | None:
    entity, relation = draw_fact(world, kinds, rng)
    other = rng.choice(list(kinds[entity.kind].relations.values()))
    if other is relation or not tellable(entity, other):
        return None
    return (
        state_alone(rng.choice(tellable(entity, relation)), entity, rng),
        state_alone(rng.choice(tellable(entity, other)), entity, rng),
        2.0,
    )


def _same_kind(world: World, kinds: dict[str, Kind], rng: Random) -> Pair | None:
    """Two entities of a kind with nothing in common: more often than not in the very same words."""
    entity, relation = draw_fact(world, kinds, rng)
    others = rng.sample(world.of(entity.kind), min(20, len(world.of(entity.kind))))
    template = rng.choice(tellable(entity, relation))
    if rng.random() < 0.6:
        return _same_words(entity, relation, template, others, rng)
    other = others[0]
    further = [r for r in kinds[other.kind].relations.values() if r is not relation and tellable(other, r)]
    if other is entity or not further:
        return None
    return (
        state_alone(template, entity, rng),
        state_alone(rng.choice(tellable(other, rng.choice(further))), other, rng),
        0.8,
    )


def _same_words(entity: Entity, relation: Relation, template: str, others: list[Entity], rng: Random) -> Pair | None:
    """One sentence of two entities that share none of its values, and of the others the most like-sounding."""
    named = slots(template) - set(entity.fixed)
    others = [other for other in others if other is not entity and template in tellable(other, relation)]
    others = [other for other in others if not any(str(entity[slot]) == str(other[slot]) for slot in named)]
    expanded = alone(template, rng)
    sentence = state(expanded, entity, full_voice(entity))
    pairs = [(sentence, state(expanded, other, full_voice(other)), 1.2) for other in others]
    return max(pairs, key=_shared) if pairs else None


def _unrelated(world: World, kinds: dict[str, Kind], rng: Random) -> Pair | None:
    one, relation = draw_fact(world, kinds, rng)
    two, other = draw_fact(world, kinds, rng)
    if one.kind == two.kind:
        return None
    return (
        state_alone(rng.choice(tellable(one, relation)), one, rng),
        state_alone(rng.choice(tellable(two, other)), two, rng),
        0.0,
    )


def _with_more(
    world: World, entity: Entity, relation: Relation, kinds: dict[str, Kind], rng: Random
) -> tuple[str, str] | None:
    """The fact alone, and with a further fact in the same sentence or in one of its own."""
    sentence = state_alone(rng.choice(tellable(entity, relation)), entity, rng)
    other = rng.choice(list(kinds[entity.kind].relations.values()))
    templates = [t for t in tellable(entity, other) if t.startswith("{S}") and not t.startswith("{S}、")]
    if other is relation or not templates:
        return None
    further = state(expand(rng.choice(templates), rng), entity, {"S": "", "G": "その", "n": str(entity)})
    one_topic = sentence.startswith(f"{entity}は") and not sentence.startswith(f"{entity}は、")
    begun = continued(sentence) if one_topic else None
    return sentence, (begun if begun and rng.random() < 0.7 else sentence) + further


def _corrected(
    world: World, entity: Entity, relation: Relation, kinds: dict[str, Kind], rng: Random
) -> tuple[str, str] | None:
    """The fact with one wrong value, and set right."""
    template = alone(rng.choice(tellable(entity, relation)), rng)
    changeable = sorted(slots(template) - set(entity.fixed))
    slot = rng.choice(changeable) if changeable else None
    value = other_value(world, entity, slot, rng) if slot else None
    if value is None:
        return None
    voice = full_voice(entity)
    return state(template, entity, voice, {slot: value}), state(template, entity, voice)


def _reworded(
    world: World, entity: Entity, relation: Relation, kinds: dict[str, Kind], rng: Random
) -> tuple[str, str] | None:
    """The fact twice in one template, which may have made other choices."""
    template = rng.choice(tellable(entity, relation))
    return state_alone(template, entity, rng), state_alone(template, entity, rng)
