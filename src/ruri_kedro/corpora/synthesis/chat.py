"""What is asked of a language model and what comes back, whichever model it is."""

from collections.abc import Mapping
from dataclasses import dataclass
from string import Template
from typing import Any, Protocol

from ruri_kedro.recipe.parse import parameters
from ruri_kedro.text.hashing import digest_json

_MOST_TOKENS = 10**9  # of one answer: no model reads or writes more


@dataclass(frozen=True)
class Request:
    """Messages to a model, and the key under which its answer is kept."""

    key: str
    messages: tuple[Mapping[str, str], ...]

    @property
    def characters(self) -> int:
        """Length of all messages."""
        return sum(len(message["content"]) for message in self.messages)


@dataclass(frozen=True)
class Answer:
    """What a model wrote, why it stopped (`stop`, `length`, ...), and the tokens that it read and wrote.

    Raises ValueError for what cannot be one, since it may come from a server or from a file.
    """

    text: str
    finish: str
    prompt_tokens: int
    completion_tokens: int

    def __post_init__(self) -> None:
        if not isinstance(self.text, str) or not isinstance(self.finish, str):
            raise ValueError("the text of an answer, or why it stopped, is not a text")
        for count in (self.prompt_tokens, self.completion_tokens):
            if type(count) is not int or not 0 <= count <= _MOST_TOKENS:
                raise ValueError(f"{str(count)[:40]} is not a number of tokens")


class ChatModel(Protocol):
    """A model behind a server, or in this process."""

    def complete(self, request: Request) -> Answer:
        """Ask once. Raises TryAgain, Refused, or a RuriError that ends the run."""


class TryAgain(Exception):
    """This try failed and another may not. `wait`: seconds that the server asks for; `reached`: whether one spoke."""

    def __init__(self, reason: str, wait: float | None = None, reached: bool = True) -> None:
        super().__init__(reason)
        self.wait = wait
        self.reached = reached


class Refused(Exception):
    """This request will never be answered, others may be."""


@parameters
class Prompt:
    """The wording of a request, with `$name` where something is filled in; `system` may be empty."""

    user: str
    system: str = ""

    def names(self) -> set[str]:
        """What is filled in. Raises ValueError for a `$` that starts no name."""
        for text in (self.system, self.user):
            if not Template(text).is_valid():
                raise ValueError("a '$' starts no name; write '$$' for the sign itself")
        return {name for text in (self.system, self.user) for name in Template(text).get_identifiers()}

    def request(self, values: Mapping[str, str], identity: str, options: Mapping[str, Any]) -> Request:
        """The request of the given model, with the values filled in."""
        parts = (("system", self.system), ("user", self.user))
        messages = tuple(
            {"role": role, "content": Template(text).substitute(values).strip()} for role, text in parts if text
        )
        return Request(digest_json({"model": identity, "options": options, "messages": messages}), messages)
