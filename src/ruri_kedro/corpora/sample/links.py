"""How the entities of a region are related: who was taught by whom, what flows where, who founded what."""

from random import Random

from ruri_kedro.corpora.sample.names import Names
from ruri_kedro.corpora.sample.world import PRESENT, Entity, World

_SURVEYORS = ("botanist", "zoologist", "explorer", "educator")
_FOUNDERS = {
    "school": ("educator", "founder", "doctor", "poet"),
    "company": ("founder", "cook", "botanist"),
    "press": ("founder", "politician", "writer"),
    "orchestra": ("composer", "educator"),
    "troupe": ("writer", "director"),
    "institute": ("botanist", "zoologist", "doctor"),
}


def relate(world: World, names: Names, rng: Random) -> None:
    """Relate the entities of a region, so that years agree and each fact has one article to tell it."""
    _relate_places(world, rng)
    _relate_people(world, names, rng)
    _relate_lives(world, rng)
    _relate_pairs(world, names, rng)
    _relate_works(world, names, rng)
    _relate_organisations(world, rng)
    _relate_facilities(world, rng)
    _relate_events(world, rng)
    _relate_nature(world, rng)
    _relate_species(world, rng)
    _relate_dishes(world, rng)


def _one(rng: Random, among: list, *but) -> Entity | None:
    """Some entity that is none of ``but``, or None where there is none."""
    left = [entity for entity in among if entity not in but]
    return rng.choice(left) if left else None


def _couples(entities: list[Entity], rng: Random) -> list[tuple[Entity, Entity]]:
    """Disjoint pairs: a symmetric relation told from one side only has one article to be asked of."""
    shuffled = rng.sample(entities, len(entities))
    return list(zip(shuffled[::2], shuffled[1::2], strict=False))


def _relate_places(world: World, rng: Random) -> None:
    places = world.of("places")
    for one, two in _couples(places, rng):
        one.assign(neighbour=two)
    for one, two in _couples(places, rng):
        one.assign(sister=two, sister_year=rng.randint(1952, 2012))
    for place in places:
        guest_year = rng.randint(1888, 1995)
        place.assign(
            river=_one(rng, world.of("nature", "river")),
            guest=_one(rng, world.adults(guest_year)),
            guest_year=guest_year,
            reformer=_one(rng, world.of("people", "politician", "founder", "doctor")),
        )


def _relate_people(world: World, names: Names, rng: Random) -> None:
    towns = world.of("places")
    for person in world.of("people"):
        born, last = person["born"], person.attributes.get("died", PRESENT - 3)
        graduated = born + rng.randint(17, 23)
        schools = [s for s in world.of("organisations", "school") if s["founded"] <= graduated - 3]
        if person["gender"] == "male":
            schools = [school for school in schools if not school.name.endswith("女学校")]
        elders = [p for p in world.adults(born + 20, person.form) if p["born"] + 8 <= born]
        birthplace = rng.choice(towns)
        lived = _one(rng, towns, birthplace)
        stay_year = rng.randint(born + 21, last)
        person.assign(
            birthplace=birthplace,
            school=_one(rng, schools),
            graduated=graduated,
            teacher=_one(rng, elders),
            lived=lived,
            moved=rng.randint(born + 20, last),
            prize=rng.choice(names.table["prize_heads"]) + rng.choice(names.table["prize_tails"]),
            prize_year=rng.randint(born + 27, last),
            stay_year=stay_year,
            # Never a town that tells of this person's visit itself, or two towns would answer one question.
            stayed=_one(rng, [town for town in towns if town.attributes.get("guest") is not person], lived),
            favourite=_one(rng, [dish for dish in world.of("dishes") if dish["made_year"] < last]),
        )


def _relate_lives(world: World, rng: Random) -> None:
    """What is left of those who have died."""
    keepers = world.of("facilities", "museum", "archive", "library", "temple")
    for person in world.of("people"):
        if "died" in person.attributes:
            death_place, memorial_place = rng.choice(world.of("places")), rng.choice(world.of("places"))
            person.assign(death_place=death_place, memorial_place=memorial_place, keeper=_one(rng, keepers))
        else:
            for key in ("memorial", "cause", "gift"):
                del person.attributes[key]


def _relate_pairs(world: World, names: Names, rng: Random) -> None:
    people = world.of("people")
    for one, two in _couples(people, rng):
        if abs(one["born"] - two["born"]) < 40:
            one.assign(friend=two)
    ordered = sorted(people, key=lambda person: person["born"])
    for one, two in zip(ordered[::2], ordered[1::2], strict=False):
        if one["gender"] != two["gender"] and one.short != two.short:
            wed = max(one["born"], two["born"]) + rng.randint(20, 34)
            teller, told = rng.choice([(one, two), (two, one)])
            teller.assign(spouse=told, wed=wed)
    # Neighbours in age, three at a time: one tells of the circle, the others are its members.
    for i in range(0, len(ordered) - 3, 5):
        head, *members = rng.sample(ordered[i : i + 5], 3)
        year = max(p["born"] for p in (head, *members)) + rng.randint(20, 27)
        circle = names.joined("circle_heads", "circle_tails")
        head.assign(circle=circle, circle_year=year, m1=members[0], m2=members[1])


def _relate_works(world: World, names: Names, rng: Random) -> None:
    # Museums that tell of works themselves keep no manuscript that a work tells of.
    keepers = world.of("facilities", "archive", "library", "temple")
    for work in world.of("works"):
        author = work["author"]
        if not author.has(["masterpiece"]) and not author.has(["known_work"]):
            told_by_author = rng.random() < 0.5
            author.assign(**{"masterpiece" if told_by_author else "known_work": work})
            if told_by_author:
                author.assign(masterpiece_year=work["year"])
                work.untold.add("author")
        adapters = world.adults(work["adapted_year"], "writer", "poet", "director", "composer")
        work.assign(
            setting=_one(rng, world.of("places")),
            publisher=_publisher(world, work, rng),
            honoured=_one(rng, world.of("people"), author),
            adapter=_one(rng, adapters, author) if work.form != "painting" else None,
            kept_at=_one(rng, keepers),
            prize=rng.choice(names.table["prize_heads"]) + rng.choice(names.table["prize_tails"]),
        )
        if work.form == "painting":
            del work.attributes["languages"]


def _publisher(world: World, work: Entity, rng: Random) -> Entity | None:
    """Who could bring out such a work: an orchestra a song, a bookseller or newspaper a book."""
    groups = [group for group in world.of("organisations") if group["founded"] <= work["out_year"]]
    if work.form == "song":
        return _one(rng, [group for group in groups if group.form == "orchestra"])
    books = [group for group in groups if group.form == "press" or group.name.endswith("書房")]
    return _one(rng, books)


def _relate_organisations(world: World, rng: Random) -> None:
    for group in world.of("organisations"):
        adults = world.adults(group["founded"])
        founder = _one(rng, world.adults(group["founded"], *_FOUNDERS[group.form]) or adults)
        leader = _one(rng, adults, founder)
        group.assign(
            founder=founder,
            leader=leader,
            moved_from=_one(rng, world.of("places"), group["town"]),
            helper=_one(rng, world.adults(group["crisis_year"]), founder, leader),
            composer=_one(rng, world.of("people", "composer")),
            lecturer=_one(rng, world.adults(group["lecture_year"]), founder, leader),
        )


def _relate_facilities(world: World, rng: Random) -> None:
    for site in world.of("facilities"):
        near = [thing for thing in world.of("nature") if thing["province"] == site["town"]["province"]]
        site.assign(
            near=_one(rng, near),
            founder=_one(rng, world.adults(site["opened"])),
            architect=_one(rng, world.adults(site["opened"], "architect")),
            donor=_one(rng, world.adults(site["opened"], "founder", "politician", "doctor")),
            speaker=_one(rng, world.adults(site["speech_year"])),
            treasure=_one(rng, world.of("works")) if site.form in ("museum", "theatre") else None,
        )


def _relate_events(world: World, rng: Random) -> None:
    keepers = world.of("facilities", "museum", "archive", "temple", "shrine", "library")
    dishes = world.of("dishes")
    for i, event in enumerate(world.of("events")):
        adults = world.adults(event["year"])
        organisers = [group for group in world.of("organisations") if group["founded"] <= event["year"]]
        yearly = event.form in ("festival", "contest")
        witnesses = world.of("people") if yearly else adults
        event.assign(
            proposer=_one(rng, adults) if event.form in ("contest", "expo") else None,
            winner=_one(rng, adults) if event.form == "contest" else None,
            organiser=_one(rng, organisers) if event.form == "expo" else None,
            reliever=_one(rng, adults) if event.form in ("flood", "quake", "fire") else None,
            chronicler=_one(rng, [p for p in witnesses if p.form in ("writer", "poet", "painter")]),
            keepsake_place=_one(rng, keepers),
            # The other dishes tell themselves at which festival they are served.
            offering=_one(rng, dishes[: len(dishes) // 2]) if event.form == "festival" and i % 2 else None,
        )


def _relate_nature(world: World, rng: Random) -> None:
    rivers = world.of("nature", "river")
    lakes, mountains = world.of("nature", "lake"), world.of("nature", "mountain")
    for thing in world.of("nature"):
        thing.assign(
            poet=_one(rng, world.of("people", "poet", "writer", "composer", "painter")),
            surveyor=_one(rng, world.adults(thing["survey_year"], *_SURVEYORS)),
        )
        if thing.form == "mountain":
            year = rng.randint(1890, 1975)
            climber = _one(rng, world.adults(year, "explorer", "botanist", "painter"))
            thing.assign(climb_year=year, climber=climber)
    for i, river in enumerate(rivers):
        # A river joins only a later one, so that no water runs in a circle.
        river.assign(mouth=_one(rng, rivers[i + 1 :] + lakes), source=_one(rng, mountains))


def _relate_species(world: World, rng: Random) -> None:
    institutes = world.of("organisations", "institute") or world.of("organisations")
    for one, two in _couples(world.of("species"), rng):
        if one.form == two.form:
            one.assign(cousin=two)
    for species in world.of("species"):
        year = species["found_year"]
        field = "botanist" if species.form in ("flower", "tree") else "zoologist"
        discoverer = _one(rng, world.adults(year, field) or world.adults(year))
        breeders = world.of("organisations", "institute", "school")
        species.assign(
            habitat=_one(rng, world.of("nature")),
            discoverer=discoverer,
            honoured=_one(rng, world.of("people"), discoverer),
            institute=_one(rng, institutes),
            breeder=_one(rng, [group for group in breeders if group["founded"] < species["bred_year"]]),
        )


def _relate_dishes(world: World, rng: Random) -> None:
    dishes = world.of("dishes")
    foods = ("製菓", "醸造", "食品", "製麺")
    sellers = [company for company in world.of("organisations", "company") if company.name.endswith(foods)]
    festivals = [event for event in world.of("events", "festival") if not event.has(["offering"])]
    for i, dish in enumerate(dishes):
        year = dish["made_year"]
        later = world.adults(year + 8)
        dish.assign(
            inventor=_one(rng, world.adults(year, "cook") or world.adults(year)),
            spreader=_one(rng, [p for p in later if p.form in ("writer", "poet", "director", "doctor")]),
            seller=_one(rng, [company for company in sellers if company["founded"] <= dish["sold_year"]]),
            fan=_one(rng, [p for p in later if p.form in ("painter", "composer", "politician", "explorer")]),
            festival=_one(rng, festivals) if i >= len(dishes) // 2 else None,
        )
