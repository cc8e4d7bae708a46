"""A model behind an OpenAI-compatible server: vLLM, llama.cpp, a hosted one."""

import os
import time
from email.utils import parsedate_to_datetime
from typing import Any, NoReturn

from ruri_kedro.corpora.synthesis.chat import Answer, Refused, Request, TryAgain
from ruri_kedro.corpora.synthesis.settings import ModelSettings
from ruri_kedro.errors import RecipeError, SynthesisError

_PASSING = {408, 409, 425, 429}  # and all from 500 on
_SHOWN = 200  # characters of a server's own words


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
            response = self._client.post(self._url, json=body)
        except (self._http.ConnectError, self._http.ConnectTimeout) as error:
            raise TryAgain(f"{self._url} cannot be reached ({error})", reached=False) from error
        except self._http.RequestError as error:
            raise TryAgain(self._hide(f"{type(error).__name__}: {error}")) from error
        if response.status_code != 200:
            self._raise_for(response)
        try:
            return _read(response.json())
        except (ValueError, KeyError, IndexError, TypeError) as error:
            raise TryAgain(self._hide(f"no chat completion came but: {response.text[:_SHOWN]!r}")) from error

    def _raise_for(self, response: Any) -> NoReturn:
        """The exception that fits a status other than 200."""
        status = response.status_code
        said = self._hide(f"HTTP {status}: {_words(response)}")
        if status in _PASSING or status >= 500:
            raise TryAgain(said, wait=_retry_after(response.headers.get("Retry-After")))
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


def _read(body: Any) -> Answer:
    """The answer in a chat completion. Raises one of the errors of indexing if it is none."""
    choice = body["choices"][0]
    text = choice["message"]["content"]
    usage = body.get("usage") or {}
    if not isinstance(text, str | None):
        raise TypeError(f"content is a {type(text).__name__}")
    return Answer(
        text=text or "",
        finish=str(choice.get("finish_reason") or "stop"),
        prompt_tokens=int(usage.get("prompt_tokens") or 0),
        completion_tokens=int(usage.get("completion_tokens") or 0),
    )


def _words(response: Any) -> str:
    """What a server says of an error, shortened."""
    try:
        body = response.json()
        error = body.get("error", body)
        said = error.get("message", error) if isinstance(error, dict) else error
    except (ValueError, AttributeError):
        said = response.text
    return " ".join(str(said).split())[:_SHOWN] or response.reason_phrase


def _retry_after(value: str | None) -> float | None:
    """Seconds to wait by a Retry-After header, which holds seconds or a date (RFC 9110, 10.2.3)."""
    if value is None:
        return None
    try:
        return max(float(value), 0.0)
    except ValueError:
        pass
    try:
        return max(parsedate_to_datetime(value).timestamp() - time.time(), 0.0)
    except ValueError:
        return None
