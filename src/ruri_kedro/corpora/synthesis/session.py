"""The answers to many requests: from the journal, and from the model what the journal does not have."""

import logging
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from itertools import islice

from ruri_kedro.corpora.synthesis.chat import Answer, ChatModel, Prompt, Request
from ruri_kedro.corpora.synthesis.dispatch import Dispatcher
from ruri_kedro.corpora.synthesis.journal import Journal
from ruri_kedro.corpora.synthesis.settings import ModelSettings, Settings
from ruri_kedro.corpora.synthesis.usage import estimate
from ruri_kedro.errors import RecipeError

logger = logging.getLogger(__name__)

_SAMPLE = 200  # answers whose mean length is the estimate


def open_model(settings: ModelSettings) -> ChatModel:
    """The model that the settings name. Raises RecipeError, for a key that is not set too."""
    if settings.backend == "local":
        from ruri_kedro.corpora.synthesis.local import LocalModel

        return LocalModel(settings)
    from ruri_kedro.corpora.synthesis.server import ChatServer

    return ChatServer(settings)


class Session:
    """One run against one model, which is opened when the first request has to be sent."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings

    def request(self, prompt: Prompt, values: Mapping[str, str]) -> Request:
        """The request to this model with the values filled in."""
        return prompt.request(values, self.settings.model.identity, self.settings.model.options)

    @cached_property
    def _dispatcher(self) -> Dispatcher:
        return Dispatcher(open_model(self.settings.model), self.settings.requests, self.settings.prices)

    def ask(self, requests: Sequence[Callable[[], Request]], journal: Journal, label: str) -> list[Answer | str]:
        """For each request its answer, or what was said in place of one, in the order of the requests.

        Says first what will be sent and used; raises RecipeError if the run would cost more than `max_cost`.
        """
        keys = [make().key for make in requests]
        known = [journal[key] for key in islice((key for key in keys if key in journal), _SAMPLE)]
        missing = {key: make for key, make in zip(keys, requests, strict=True) if key not in journal}
        failures: dict[str, str] = {}
        if missing:
            self._announce(list(missing.values()), known, label)
            failures = self._dispatcher.send(list(missing.values()), journal, label)
        return [journal[key] if key in journal else failures[key] for key in keys]

    def _announce(self, missing: Sequence[Callable[[], Request]], known: Sequence[Answer], label: str) -> None:
        settings = self.settings
        expected = estimate((make() for make in missing), known, settings.model.max_tokens)
        about = "about" if known else "at most about"
        logger.info(
            "%s: %d requests to %s, %s %s. Answers are kept in %s.",
            label, len(missing), settings.model.name, about, expected.said(settings.prices), settings.journal,
        )  # fmt: skip
        spent = self._dispatcher.used.cost(settings.prices)
        if settings.max_cost is not None and spent + expected.cost(settings.prices) > settings.max_cost:
            raise RecipeError(
                f"{label}: {about} {expected.cost(settings.prices):,.2f} is to be spent, {spent:,.2f} is spent, and "
                f"synthesis.max_cost is {settings.max_cost:g}. Raise it, or lower the count of the set."
            )
