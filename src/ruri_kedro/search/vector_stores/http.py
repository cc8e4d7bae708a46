"""Requests to engines behind HTTP: one clear error for each way to fail, and no password in it."""

import os
from typing import Any
from urllib.parse import urlsplit

from ruri_kedro.errors import DataError, RecipeError

KEY = "RURI_ENGINE_KEY"  # environment variable of an API key
_SHOWN = 300  # characters of an engine's own words
_SECONDS = 300


class Server:
    """An engine at an address http(s)://[user:password@]host[:port].

    A key in the environment variable RURI_ENGINE_KEY is sent as `Authorization: <scheme> <key>`.
    """

    def __init__(self, address: str, scheme: str) -> None:
        import httpx2

        parts = urlsplit(address)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise RecipeError("--into: an address such as http://localhost:9200 is expected.")
        self.name = f"{parts.scheme}://{parts.hostname}" + (f":{parts.port}" if parts.port else "")
        headers = {"Authorization": f"{scheme} {os.environ[KEY]}"} if os.environ.get(KEY) else {}
        self._http = httpx2
        self._client = httpx2.Client(base_url=address.rstrip("/"), headers=headers, timeout=_SECONDS)

    def is_there(self, path: str) -> bool:
        """Whether HEAD of the path is answered with 200."""
        return self._send("HEAD", path, allowed=(404,)).status_code == 200

    def ask(self, method: str, path: str, body: Any = None, lines: bytes | None = None) -> Any:
        """The JSON of the answer; `lines` are sent as newline-delimited JSON. Raises DataError for any refusal."""
        if lines is not None:
            sent = {"content": lines, "headers": {"Content-Type": "application/x-ndjson"}}
        else:
            sent = {} if body is None else {"json": body}
        response = self._send(method, path, **sent)
        try:
            return response.json()
        except ValueError as error:
            raise DataError(f"{self.name}{path}: the answer is not JSON. Is this the engine's own port?") from error

    def _send(self, method: str, path: str, allowed: tuple[int, ...] = (), **sent: Any) -> Any:
        try:
            response = self._client.request(method, path, **sent)
        except self._http.RequestError as error:
            raise DataError(
                f"{self.name} cannot be reached ({type(error).__name__}). Start it, or correct it."
            ) from error
        if response.status_code >= 300 and response.status_code not in allowed:
            raise DataError(
                f"{self.name}{path}: HTTP {response.status_code}: {response.text[:_SHOWN]!r}. What is loaded already "
                "stays; run the same again when it is put right."
            )
        return response
