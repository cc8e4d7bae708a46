"""The tables of the sample corpus, made from one seed."""

from random import Random

from ruri_kedro.corpora.sample.asking import Descriptions, ask_articles
from ruri_kedro.corpora.sample.inference import infer
from ruri_kedro.corpora.sample.lexicon import Kind, read_kinds, read_toml
from ruri_kedro.corpora.sample.links import relate
from ruri_kedro.corpora.sample.names import Names
from ruri_kedro.corpora.sample.news import report
from ruri_kedro.corpora.sample.population import populate
from ruri_kedro.corpora.sample.similarity import edit, grade
from ruri_kedro.corpora.sample.telling import Article, tell_article
from ruri_kedro.corpora.sample.world import World

SEED = 20240911
SHARES = {"train": 0.8, "validation": 0.08, "test": 0.12}
QUESTIONS = {"train": 4000, "validation": 400, "test": 600}
TRIPLES = {"train": (3600, 260), "validation": (400, 40)}
NEWS = {"train": 1100, "validation": 100}
GRADED = {"train": 1500, "validation": 300, "test": 500}
EDITS = {"train": 1500}


def generate(seed: int = SEED) -> dict[str, list[dict]]:
    """Every table of the corpus by its path without ending: ``articles``, ``questions/train``, ..."""
    kinds = read_kinds()
    worlds = build_worlds(kinds, Random(f"{seed} world"))
    articles = tell_worlds(worlds, kinds, Random(f"{seed} articles"))

    def rng(name: str) -> Random:
        # One generator a table: a change to one leaves the others as they were.
        return Random(f"{seed} {name}")

    tables = {"articles": [_article_row(article, kinds) for split in articles for article in articles[split]]}
    descriptions = Descriptions([entity for world in worlds.values() for entity in world.all()], kinds)
    for split, count in QUESTIONS.items():
        name = f"questions/{split}"
        tables[name] = ask_articles(articles[split], descriptions, kinds, split, count, rng(name))
    for split, (triples, neutrals) in TRIPLES.items():
        name = f"inference/{split}"
        tables[name] = infer(worlds[split], kinds, triples, neutrals, rng(name))
    for split, count in EDITS.items():
        tables[f"edits/{split}"] = edit(worlds[split], kinds, count, rng(f"edits/{split}"))
    for split, count in NEWS.items():
        tables[f"news/{split}"] = report(worlds[split], split, count, rng(f"news/{split}"))
    for split, count in GRADED.items():
        tables[f"sts/{split}"] = grade(worlds[split], kinds, count, rng(f"sts/{split}"))
    return tables


def build_worlds(kinds: dict[str, Kind], rng: Random) -> dict[str, World]:
    """One closed region a split, so that splits share words and patterns but no names."""
    names = Names(read_toml("names"), rng)
    worlds = {split: populate(split, share, kinds, names, rng) for split, share in SHARES.items()}
    for world in worlds.values():
        relate(world, names, rng)
    return worlds


def tell_worlds(worlds: dict[str, World], kinds: dict[str, Kind], rng: Random) -> dict[str, list[Article]]:
    """The articles of each region, numbered throughout."""
    articles, number = {}, 0
    for split, world in worlds.items():
        articles[split] = []
        for entity in world.all():
            articles[split].append(tell_article(f"a{number:04d}", entity, kinds[entity.kind], rng))
            number += 1
    return articles


def _article_row(article: Article, kinds: dict[str, Kind]) -> dict:
    """The article as a row of ``articles``."""
    return {
        "article_id": article.article_id,
        "title": article.entity.name,
        "abstract": article.abstract,
        "sections": [{"section": heading, "paragraphs": texts} for heading, texts in article.sections],
        "category": kinds[article.entity.kind].category,
    }
