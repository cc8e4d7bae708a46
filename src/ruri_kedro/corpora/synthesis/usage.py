"""Tokens and what they cost."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from ruri_kedro.corpora.synthesis.chat import Answer, Request
from ruri_kedro.recipe.parse import NotNegative, parameters


@parameters
class Prices:
    """Price of a million tokens read and written, in any currency."""

    prompt: NotNegative
    completion: NotNegative


@dataclass(frozen=True)
class Usage:
    """Tokens read and written by some requests."""

    requests: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0

    @staticmethod
    def of(answers: Iterable[Answer]) -> "Usage":
        """The sum over answers."""
        used = Usage()
        for answer in answers:
            used = used.plus(answer)
        return used

    def plus(self, other: "Answer | Usage") -> "Usage":
        """The sum with one more answer, or with the usage of others."""
        return Usage(
            self.requests + (other.requests if isinstance(other, Usage) else 1),
            self.prompt_tokens + other.prompt_tokens,
            self.completion_tokens + other.completion_tokens,
        )

    def cost(self, prices: Prices) -> float:
        """What it costs."""
        return (self.prompt_tokens * prices.prompt + self.completion_tokens * prices.completion) / 1e6

    def said(self, prices: Prices) -> str:
        """Tokens and cost in words."""
        tokens = f"{self.prompt_tokens:,} tokens read, {self.completion_tokens:,} written"
        cost = self.cost(prices)
        return f"{tokens}, cost {cost:,.{2 if cost >= 1 else 4}f}" if cost else tokens


def estimate(requests: Iterable[Request], answered: Sequence[Answer], max_tokens: int) -> Usage:
    """What the requests will use.

    As much as the mean of the answers that are there already; without any, a token per character, which is more than
    tokenizers make of Japanese, and answers of full length.
    """
    count = characters = 0
    for request in requests:
        count, characters = count + 1, characters + request.characters
    if not answered:
        return Usage(count, characters, count * max_tokens)
    known = Usage.of(answered)
    return Usage(
        count,
        round(known.prompt_tokens / known.requests * count),
        round(known.completion_tokens / known.requests * count),
    )
