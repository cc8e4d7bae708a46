"""Premises with what follows from them, what contradicts them, and what they leave open."""

from random import Random

from ruri_kedro.corpora.sample.lexicon import Kind, Relation, expand, slots
from ruri_kedro.corpora.sample.telling import state, state_alone, tellable
from ruri_kedro.corpora.sample.world import Entity, World, other_value

Rows = list[dict] | None


def infer(world: World, kinds: dict[str, Kind], triples: int, neutrals: int, rng: Random) -> list[dict]:
    """``triples`` premises with an entailed and a contradicted row each, then ``neutrals`` neutral rows."""
    rows, premises = [], set()
    makers = [_triple] * triples + [_neutral] * neutrals
    for make in makers:
        found = None
        while not found or found[0]["premise"] in premises:
            found = make(world, *draw_fact(world, kinds, rng), kinds, rng)
        premises.add(found[0]["premise"])
        rows += found
    return rows


def draw_fact(world: World, kinds: dict[str, Kind], rng: Random) -> tuple[Entity, Relation]:
    """An entity and one of the relations that can be told of it."""
    while True:
        entity = rng.choice(world.all())
        relations = [r for r in kinds[entity.kind].relations.values() if tellable(entity, r)]
        if relations:
            return entity, rng.choice(relations)


def settled(relation: Relation, slot: str) -> bool:
    """Whether the slot holds one value only, so that another contradicts it."""
    return slot not in relation.open if isinstance(relation.open, list) else not relation.open


def _triple(world: World, entity: Entity, relation: Relation, kinds: dict[str, Kind], rng: Random) -> Rows:
    """A premise with what follows from it and what contradicts it, or None where either is wanting."""
    template = rng.choice(tellable(entity, relation))
    given = slots(template) | set(entity.fixed)
    others = [t for t in tellable(entity, relation) if t != template and slots(t) <= given]
    entailed = _entailed(entity, relation, others, given, rng)
    contradicted = _contradicted(world, entity, relation, others or [template], given, rng)
    if entailed is None or contradicted is None:
        return None
    premise = _premise(entity, relation, template, kinds[entity.kind], rng)
    return [_row(premise, entailed, "entailment"), _row(premise, contradicted, "contradiction")]


def _neutral(world: World, entity: Entity, relation: Relation, kinds: dict[str, Kind], rng: Random) -> Rows:
    """A premise and another thing that holds of the same entity, which the premise says nothing about."""
    other = rng.choice(list(kinds[entity.kind].relations.values()))
    if other is relation or not tellable(entity, other):
        return None
    premise = state_alone(rng.choice(tellable(entity, relation)), entity, rng)
    return [_row(premise, state_alone(rng.choice(tellable(entity, other)), entity, rng), "neutral")]


def _row(premise: str, hypothesis: str, label: str) -> dict:
    return {"premise": premise, "hypothesis": hypothesis, "label": label}


def _premise(entity: Entity, relation: Relation, template: str, kind: Kind, rng: Random) -> str:
    """The fact, at times with another fact on the same entity after it."""
    premise = state_alone(template, entity, rng)
    further = [r for r in kind.relations.values() if r is not relation and tellable(entity, r)]
    if further and rng.random() < 0.3:
        second = expand(rng.choice(tellable(entity, rng.choice(further))), rng)
        mention = rng.choice(entity.pronouns)
        premise += state(second, entity, {"S": f"{mention}は", "G": f"{mention}の", "n": mention})
    return premise


def _entailed(entity: Entity, relation: Relation, others: list[str], given: set[str], rng: Random) -> str | None:
    """The same in other words, or something weaker that follows."""
    weaker = [t for t in relation.implies if slots(t) <= given]
    pool = others if others and (not weaker or rng.random() < 0.68) else weaker
    return state_alone(rng.choice(pool), entity, rng) if pool else None


def _contradicted(
    world: World, entity: Entity, relation: Relation, templates: list[str], given: set[str], rng: Random
) -> str | None:
    """The same with a value that cannot hold too, or a statement that rules the fact out."""
    denials = [t for t in relation.deny if slots(t) <= given]
    if denials and rng.random() < 0.4:
        return state_alone(rng.choice(denials), entity, rng)
    template = rng.choice(templates)
    changeable = [slot for slot in sorted(slots(template) - set(entity.fixed)) if settled(relation, slot)]
    if changeable:
        slot = rng.choice(changeable)
        value = other_value(world, entity, slot, rng)
        if value is not None:
            return state_alone(template, entity, rng, {slot: value})
    return state_alone(rng.choice(denials), entity, rng) if denials else None
