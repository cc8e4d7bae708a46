"""The entities of a region, each named and given the attributes that are its own, such as years and sizes."""

from random import Random

from ruri_kedro.corpora.sample.lexicon import Kind
from ruri_kedro.corpora.sample.names import Names, katakana
from ruri_kedro.corpora.sample.world import PRESENT, Entity, World

MAKERS = {
    "novel": ("writer",),
    "stories": ("writer",),
    "poems": ("poet",),
    "film": ("director",),
    "song": ("composer",),
    "painting": ("painter",),
    "picturebook": ("writer", "painter"),
}
_SIZES = {"flower": (8, 70), "tree": (4, 24), "bird": (11, 48), "fish": (4, 31), "insect": (1, 9)}


def populate(region: str, share: float, kinds: dict[str, Kind], names: Names, rng: Random) -> World:
    """A region with ``share`` of each kind's count, its entities not yet related to each other."""
    world = World(region)
    provinces = [names.root()[0] + "県" for _ in range(max(1, round(8 * share)))]
    makers = {
        "places": lambda entity: _place(entity, names, provinces, rng),
        "nature": lambda entity: _nature(entity, world, names, rng),
        "people": lambda entity: _person(entity, surnames, names, rng),
        "works": lambda entity: _work(entity, world, names, rng),
        "organisations": lambda entity: _organisation(entity, world, names, rng),
        "facilities": lambda entity: _facility(entity, world, names, rng),
        "events": lambda entity: _event(entity, world, names, rng),
        "species": lambda entity: _species(entity, world, names, rng),
        "dishes": lambda entity: _dish(entity, world, names, rng),
    }
    surnames = [names.root() for _ in range(max(8, round(170 * share)))]
    for kind, make in makers.items():
        world.entities[kind] = []
        for _ in range(round(kinds[kind].count * share)):
            entity = _draw(kinds[kind], world, rng)
            make(entity)
            world.entities[kind].append(entity)
    return world


def _draw(kind: Kind, world: World, rng: Random) -> Entity:
    """A nameless entity of some form, with the attributes that are drawn from word lists."""
    forms = [form for form in kind.forms if kind.name != "works" or world.of("people", *MAKERS[form])]
    form = rng.choices(forms, [kind.forms[f]["weight"] for f in forms])[0]
    fixed = tuple(key for key in kind.forms[form] if key not in ("pronouns", "weight"))
    entity = Entity(kind.name, form, name="", pronouns=kind.forms[form].get("pronouns", []), fixed=fixed)
    entity.attributes |= {key: kind.forms[form][key] for key in fixed}
    for picks in (kind.pick, kind.pick_by_form.get(form, {})):
        entity.attributes |= {key: rng.choice(values) for key, values in picks.items()}
    return entity


def _suffixed(entity: Entity, root: str, names: Names, rng: Random, other: str = "") -> None:
    """Name the entity after a place, marked off where the plain name is taken."""
    marks = ["", "", "", "東", "西", "南", "北", "新", "奥"]
    suffixes = names.table["suffixes"][entity.form]
    roots = [root, other or root]
    entity.name = names.once(lambda: rng.choice(marks) + rng.choice(roots) + rng.choice(suffixes))


def _place(place: Entity, names: Names, provinces: list[str], rng: Random) -> None:
    root, reading = names.root()
    head = root[0]
    place.name = root + names.table["suffixes"][place.form][0]
    place.reading = reading + {"city": "し", "town": "ちょう", "village": "むら"}[place.form]
    one, two = rng.sample(["上", "下", "東", "西", "奥", "中", "新", "本"], 2)
    place.assign(
        root=root,
        root_reading=reading,
        province=rng.choice(provinces),
        merged_year=rng.randint(1889, 2006),
        old=rng.choice([f"{one}{root}村と{two}{root}村", f"{root}村と{two}{head}山村", f"{one}{head}川村と{root}村"]),
        population=f"{rng.randint(8, 900) * 100:,}人",
        census=rng.randint(1950, 2015),
        railway_year=rng.randint(1885, 1935),
        market_month=rng.randint(1, 12),
    )


def _nature(thing: Entity, world: World, names: Names, rng: Random) -> None:
    town = rng.choice(world.of("places"))
    root, reading = names.root() if rng.random() < 0.6 else (town["root"], town["root_reading"])
    _suffixed(thing, root, names, rng)
    thing.reading = reading  # of the root: the suffix is read as the word it is
    sizes = {
        "river": {"length": f"{rng.randint(8, 190)}キロメートル"},
        "mountain": {"height": f"{rng.randint(310, 2890):,}メートル"},
        "lake": {"depth": f"{rng.randint(4, 210)}メートル"},
        "fall": {"drop": f"{rng.randint(9, 120)}メートル"},
        "cave": {"length": f"{rng.randint(2, 9)}キロメートル"},
    }
    thing.assign(
        town=town,
        province=town["province"],
        root=root,
        root_reading=reading,
        protected_year=rng.randint(1925, 2015),
        survey_year=rng.randint(1885, 1985),
        works_year=rng.randint(1890, 2010),
        **sizes.get(thing.form, {}),
    )


def _person(person: Entity, surnames: list, names: Names, rng: Random) -> None:
    surname = rng.choice(surnames)
    gender = rng.choice(["male", "female"])
    person.name, person.reading = names.person(surname, gender)
    person.short = surname[0]
    person.fixed += ("partner",)
    person.pronouns = ["彼" if gender == "male" else "彼女"]
    born = rng.randint(1893 if person.form == "director" else 1850, 1962)
    order = (
        ["長男", "次男", "三男", "末っ子", "一人息子"]
        if gender == "male"
        else ["長女", "次女", "三女", "末娘", "一人娘"]
    )
    person.assign(
        born=born,
        gender=gender,
        order=rng.choice(order),
        partner="妻" if gender == "male" else "夫",
        penname=names.joined("pen_heads", "pen_tails")
        if person.form in ("writer", "poet", "painter", "potter") and rng.random() < 0.6
        else None,
    )
    died = born + rng.randint(48, 93)
    if died < PRESENT - 8:
        person.assign(died=died, memorial_year=rng.randint(died + 1, min(died + 50, PRESENT)))


def _work(work: Entity, world: World, names: Names, rng: Random) -> None:
    author = rng.choice(world.of("people", *MAKERS[work.form]))
    roots = [place["root"] for place in world.of("places")]
    work.name = names.title(work.form, roots)
    last = min(author.attributes.get("died", PRESENT - 5), author["born"] + 72)
    year = rng.randint(author["born"] + 23, last)
    printed = work.form in ("novel", "stories", "poems", "picturebook")
    work.assign(
        author=author,
        year=year,
        out_year=year + rng.randint(0, 2),
        original=names.title(work.form, roots),
        copies=f"{rng.randint(3, 400) * 1000:,}部" if printed else None,
        prize_year=year + rng.randint(1, 4),
        adapted_year=min(year + rng.randint(5, 45), PRESENT),
    )


def _organisation_name(group: Entity, root: str, names: Names, rng: Random) -> str:
    """A name such as the organisation could bear in the town of ``root``."""
    words = names.table
    if group.form == "school":
        public = root + rng.choice(["農林学校", "工業学校", "商業学校", "師範学校", "大学", "高等学校"])
        private = rng.choice(words["virtues"]) + rng.choice(["学園", "女学校", "義塾", "大学"])
        return rng.choice([public, private])
    if group.form == "company":
        firm = rng.choice([root, *rng.choices(words["firms"], k=3)])
        return firm + words["industries"][group["speciality"]]
    if group.form == "troupe":
        troupe = rng.choice(["劇団", root + "劇団"]) + rng.choice(words["circle_heads"])
        return troupe + rng.choice(["", "座", "組"])
    if group.form == "institute":
        return rng.choice(["", "東", "西", "中央"]) + root + words["studies"][group["speciality"]] + "研究所"
    return rng.choice(["", "東", "新"]) + root + rng.choice(names.table["suffixes"][group.form])


def _organisation(group: Entity, world: World, names: Names, rng: Random) -> None:
    town = rng.choice(world.of("places"))

    def name() -> str:
        return _organisation_name(group, town["root"], names, rng)

    group.name = names.once(name)
    founded = rng.randint(1876, 1965)
    group.assign(
        town=town,
        founded=founded,
        former_name=names.once(lambda: rng.choice(["", "私立"] if group.form == "school" else [""]) + name()),
        absorbed=names.once(lambda: rng.choice(["", "第二"]) + name()),
        renamed=founded + rng.randint(4, 45),
        moved=founded + rng.randint(6, 50),
        crisis_year=founded + rng.randint(3, 50),
        absorbed_year=founded + rng.randint(8, 52),
        lecture_year=founded + rng.randint(2, 50),
        census=founded + rng.randint(5, 50),
        size=f"{rng.randint(3, 190) * 10:,}名",
    )


def _facility(site: Entity, world: World, names: Names, rng: Random) -> None:
    town = rng.choice(world.of("places"))
    if site.form == "temple":
        site.name = names.joined("temple_heads", "temple_tails", "寺")
    else:
        _suffixed(site, town["root"], names, rng, rng.choice(world.of("nature"))["root"])
    old = site.form in ("temple", "shrine")
    opened = rng.randint(1590, 1850) if old else rng.randint(1880, 1985)
    damaged = rng.randint(max(opened, 1860) + 4, 1990)
    site.assign(
        town=town,
        opened=opened,
        damaged=damaged,
        rebuilt=damaged + rng.randint(1, 9),
        heritage_year=rng.randint(max(damaged, 1950), 2018),
        visitors=f"{rng.randint(3, 400) * 1000:,}人",
        annual_month=rng.randint(1, 12),
        speech_year=rng.randint(max(opened, 1890), 2010),
    )


def _event(event: Entity, world: World, names: Names, rng: Random) -> None:
    place = rng.choice(world.of("places"))
    _suffixed(event, place["root"], names, rng)
    spans = {"festival": (1650, 1880), "contest": (1905, 1965)}
    year = rng.randint(*spans.get(event.form, (1882, 1975)))
    stopped = rng.randint(max(year + 8, 1905), 1990)
    repeated = event.form in spans
    event.assign(
        place=place,
        year=year,
        month=rng.randint(1, 12),
        visitors=f"{rng.randint(4, 90) * 1000:,}人" if repeated or event.form == "expo" else None,
        damage=None if repeated or event.form == "expo" else f"{rng.randint(40, 3900):,}戸",
        stopped=stopped if repeated else None,
        revived=stopped + rng.randint(3, 20) if repeated else None,
        weather=None if repeated else event["weather"],
    )
    if repeated:
        del event.attributes["weather"]


def _species(species: Entity, world: World, names: Names, rng: Random) -> None:
    roots = [e["root_reading"] for e in world.of("nature") + world.of("places")]
    base = species["base"]
    species.name = names.once(lambda: katakana(rng.choice(roots)) + base)
    found = rng.randint(1885, 1985)
    species.assign(
        found_year=found,
        bred_year=rng.randint(found + 5, PRESENT),
        season_month=rng.randint(1, 12),
        size=f"{rng.randint(*_SIZES[species.form])}{'メートル' if species.form == 'tree' else 'センチメートル'}",
    )


def _dish(dish: Entity, world: World, names: Names, rng: Random) -> None:
    town = rng.choice(world.of("places"))
    dish.name = names.once(lambda: rng.choice(["", "", "黒", "白", "花"]) + town["root"] + dish["suffix"])
    made = rng.randint(1885, 1970)
    dish.assign(town=town, made_year=made, sold_year=rng.randint(made + 4, PRESENT))
