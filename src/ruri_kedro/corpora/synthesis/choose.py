"""Which passages and sentences are asked about: drawn by their own content, so a larger draw holds the smaller one."""

import heapq
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import groupby

from ruri_kedro.corpora.kinds import Text
from ruri_kedro.errors import RecipeError
from ruri_kedro.text.hashing import unit_interval
from ruri_kedro.text.sentences import split_sentences

_ENDS = ("。", "!", "?")  # after normalisation


@dataclass(frozen=True)
class Choice:
    """How many excerpts are drawn and of which length, in characters; `per_article` of one title at most."""

    count: int
    per_article: int
    min_chars: int
    max_chars: int
    paragraphs: int = 1
    seed: int = 0

    def __post_init__(self) -> None:
        if min(self.count, self.per_article, self.paragraphs) < 1:
            raise RecipeError("synthesis: count, per_article and paragraphs of a set are 1 or more.")
        if not 0 < self.min_chars <= self.max_chars:
            raise RecipeError("synthesis: min_chars of a set is above 0 and at most max_chars.")


Cut = Callable[[list[Text], Choice], Iterable[Text]]


def passages(article: list[Text], choice: Choice) -> Iterator[Text]:
    """Runs of `paragraphs` consecutive paragraphs of an article, joined (Ruri, Section 2.2: three).

    A passage keeps the section's title where all of it stands in one section.
    """
    size = min(choice.paragraphs, len(article))
    for start in range(0, len(article) - size + 1, size):
        run = article[start : start + size]
        sections = {paragraph.section for paragraph in run}
        section = run[0].section if len(sections) == 1 else ""
        yield Text("".join(paragraph.text for paragraph in run), run[0].title, section)


def sentences(article: list[Text], choice: Choice) -> Iterator[Text]:
    """The whole sentences of an article, without its title."""
    for paragraph in article:
        for sentence in split_sentences(paragraph.text):
            if sentence.strip().endswith(_ENDS):
                yield Text(sentence.strip())


def choose(texts: Iterable[Text], cut: Cut, choice: Choice) -> list[Text]:
    """`count` excerpts of articles drawn at random, each once, in the order of their draws.

    Every article gives one excerpt before any gives a second. Texts of one title stand together.
    """
    best: list[tuple[float, str, Text]] = []  # a heap of the negated draws: the worst of the best on top
    held: set[Text] = set()
    for draw, text in _draws(texts, cut, choice):
        if text not in held and (len(best) < choice.count or draw < -best[0][0]):
            heapq.heappush(best, (-draw, text.full, text))
            held.add(text)
            if len(best) > choice.count:
                held.remove(heapq.heappop(best)[2])
    return [text for _, _, text in sorted(best, key=lambda entry: (-entry[0], entry[1]))]


def _draws(texts: Iterable[Text], cut: Cut, choice: Choice) -> Iterator[tuple[float, Text]]:
    """(draw, excerpt): the whole number is the excerpt's place in its article, the rest the draw of the article."""
    for article in _articles(texts):
        fitting = (text for text in cut(article, choice) if choice.min_chars <= len(text.text) <= choice.max_chars)
        drawn = sorted(dict.fromkeys(fitting), key=lambda text: (_draw(text.text, choice.seed), text.full))
        draw = _draw(article[0].title or article[0].text, choice.seed)
        yield from ((place + draw, text) for place, text in enumerate(drawn[: choice.per_article]))


def _articles(texts: Iterable[Text]) -> Iterator[list[Text]]:
    """Consecutive texts of one title; a text without a title stands for itself."""
    for title, group in groupby(texts, key=lambda text: text.title):
        if title:
            yield list(group)
        else:
            yield from ([text] for text in group)


def _draw(content: str, seed: int) -> float:
    return unit_interval("synthesis", str(seed), content)
