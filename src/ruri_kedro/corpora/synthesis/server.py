"""A model behind an OpenAI-compatible server: vLLM, llama.cpp, a hosted one."""

import json
import math
import os
import time
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import Any, NoReturn

from ruri_kedro.corpora.synthesis.chat import Answer, Refused, Request, TryAgain
from ruri_kedro.corpora.synthesis.settings import ModelSettings
from ruri_kedro.errors import RecipeError, SynthesisError

_PASSING = {408, 409, 425, 429}  # and all from 500 on
_SHOWN = 200  # characters of a server's own words
_LONGEST = 64 << 20  # bytes of an answer; a completion has some thousand


@dataclass(frozen=True)
class _Reply:
    """What came over HTTP, unpacked."""

    status: int
    reason: str
    retry_after: str | None
    content: bytes

    @property
    def text(self) -> str:
        """The content as text, whatever encoding its headers name."""
        return self.content.decode("utf-8", "replace")


class ChatServer:
    """Asks `POST <base_url>/chat/completions`; one instance serves many threads.

    The settings' options are sent as they are. The key is read from the environment variable that they name, and
    stands in no message of this class.
    """

    def __init__(self, settings: ModelSettings) -> None:
        import httpx2

        self._http = httpx2
        self._url = f"{settings.base_url.rstrip('/')}/chat/completions"
        self._name = settings.name
        self._options = dict(settings.options)
        self._key_env = settings.api_key_env
        self._key = _key_from(settings.api_key_env)
        headers = {"Authorization": f"Bearer {self._key}"} if self._key else {}
        limits = httpx2.Limits(max_connections=None)
        self._client = httpx2.Client(timeout=settings.timeout, headers=headers, limits=limits)

    def complete(self, request: Request) -> Answer:
        """Ask once. Raises TryAgain or Refused, and SynthesisError where no request will ever succeed."""
        body = {"model": self._name, "messages": list(request.messages), **self._options}
        try:
            response = self._post(body)
        except (self._http.ConnectError, self._http.ConnectTimeout) as error:
            raise TryAgain(f"{self._url} cannot be reached ({error})", reached=False) from error
        except self._http.RequestError as error:
            raise TryAgain(self._hide(f"{type(error).__name__}: {error}")) from error
        if response.status != 200:
            self._raise_for(response)
        try:
            return _read(json.loads(response.content))
        except _ODD as error:
            what = f"not a chat completion ({type(error).__name__}: {error})"
            raise TryAgain(self._hide(f"{what}: {response.text[:_SHOWN]!r}")) from error

    def _post(self, body: dict[str, Any]) -> _Reply:
        """What the server sends. Raises TryAgain for more than an answer can be."""
        with self._client.stream("POST", self._url, json=body) as response:
            content = bytearray()
            for chunk in response.iter_bytes():
                content += chunk
                if len(content) > _LONGEST:
                    raise TryAgain(f"HTTP {response.status_code}: an answer of more than {_LONGEST >> 20} MiB")
            retry_after = response.headers.get("Retry-After")
            return _Reply(response.status_code, response.reason_phrase, retry_after, bytes(content))

    def _raise_for(self, response: _Reply) -> NoReturn:
        """The exception that fits a status other than 200."""
        status = response.status
        said = self._hide(f"HTTP {status}: {_words(response)}")
        if status in _PASSING or status >= 500:
            raise TryAgain(said, wait=_retry_after(response.retry_after))
        if status in (401, 403):
            remedy = (
                f"Look at the key in the environment variable {self._key_env}"
                if self._key_env
                else "Name the environment variable that holds the key in synthesis.model.api_key_env"
            )
            raise SynthesisError(f"{self._url} refuses access. {said}. {remedy}.")
        if status < 400 or status in (402, 404, 405):
            raise SynthesisError(
                f"{self._url} does not serve the model '{self._name}'. {said}. Look at synthesis.model.base_url (it "
                "mostly ends in /v1) and synthesis.model.name, and at the account if the server has one."
            )
        raise Refused(said)

    def _hide(self, text: str) -> str:
        """The text without the key, which some servers repeat."""
        return text.replace(self._key, "***") if self._key else text


def _key_from(variable: str | None) -> str | None:
    if variable is None:
        return None
    key = os.environ.get(variable, "").strip()
    if not key:
        raise RecipeError(
            f"the environment variable {variable} (synthesis.model.api_key_env) is not set. Export the server's key "
            "in it, or set api_key_env to null for a server without one."
        )
    return key


# What reading an answer that is not of the expected form raises.
_ODD = (ValueError, KeyError, IndexError, TypeError, AttributeError, RecursionError)


def _read(body: Any) -> Answer:
    """The answer in a chat completion. Raises one of _ODD if it is none."""
    choice = body["choices"][0]
    usage = _given(body.get("usage"), {})
    counts = (_given(usage.get(f"{side}_tokens"), 0) for side in ("prompt", "completion"))
    # Some servers write whole numbers as fractions.
    counts = (int(count) if isinstance(count, float) and count.is_integer() else count for count in counts)
    return Answer(_given(choice["message"]["content"], ""), _given(choice.get("finish_reason"), "stop"), *counts)


def _given(value: Any, default: Any) -> Any:
    """The value, or the default for null: servers leave out what they do not have. What else it is, Answer checks."""
    return default if value is None else value


def _words(response: _Reply) -> str:
    """What a server says of an error, shortened."""
    try:
        body = json.loads(response.content)
        error = body.get("error", body)
        said = str(error.get("message", error) if isinstance(error, dict) else error)
    except _ODD:
        said = response.text
    return " ".join(said.split())[:_SHOWN] or response.reason


def _retry_after(value: str | None) -> float | None:
    """Seconds to wait by a Retry-After header, which holds seconds or a date (RFC 9110, 10.2.3)."""
    if value is None:
        return None
    try:
        seconds = float(value)
    except ValueError:
        try:
            seconds = parsedate_to_datetime(value).timestamp() - time.time()
        except (ValueError, TypeError, OverflowError, OSError):
            return None
    return max(seconds, 0.0) if math.isfinite(seconds) else None
