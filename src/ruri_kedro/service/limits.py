"""What stands before every request: who may ask, from where, how much, how often and for how long."""

import asyncio
import hmac
import ipaddress
import json
import os
import time
from collections import OrderedDict
from collections.abc import Collection
from typing import Any
from urllib.parse import urlsplit

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ruri_kedro.errors import RecipeError
from ruri_kedro.service.metrics import Metrics
from ruri_kedro.service.refusals import Refusal, error_body
from ruri_kedro.service.settings import Limits

TOKEN = "RURI_SERVICE_TOKEN"  # environment variable
_LOOPBACK = ("localhost", "127.0.0.1", "::1")
_ADDRESSES = 10_000  # whose rate is remembered
_HEADERS = {
    # Nothing but the service's own files, and none of them in another page's frame.
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
    "img-src 'self' data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
}
_ENCODED_HEADERS = [(name.lower().encode(), value.encode()) for name, value in _HEADERS.items()]


def token_of() -> str | None:
    """The token that requests have to give; None where there is none."""
    return os.environ.get(TOKEN) or None


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches an address."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def check_exposure(host: str, token: str | None) -> None:
    """Raise RecipeError for an address that others reach where there is no token."""
    if not token and not is_loopback(host):
        raise RecipeError(
            f"service.host: {host} can be reached from elsewhere. Put a token into the environment variable {TOKEN}, "
            "which requests then give as Authorization: Bearer <token>, or take 127.0.0.1."
        )


class Gate:
    """ASGI middleware around the whole service."""

    def __init__(
        self,
        app: ASGIApp,
        limits: Limits,
        hosts: Collection[str],
        token: str | None,
        open_paths: Collection[str],
        known_paths: Collection[str],
        metrics: Metrics,
    ) -> None:
        self._app, self._limits, self._token, self._metrics = app, limits, token, metrics
        self._hosts = {*(host.lower() for host in hosts), *_LOOPBACK}
        self._open, self._known = frozenset(open_paths), frozenset(known_paths)
        self._rates = _Rates(limits.rate, limits.burst)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer, or refuse before anything of the request is looked at."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        start, answer = time.perf_counter(), _Answer(send)
        try:
            self._admit(scope)
            within = asyncio.timeout(self._limits.timeout_s)
            async with within:
                await self._app(scope, self._bounded(scope, receive), answer)
        except TimeoutError:
            await answer.refuse(scope["path"], Refusal(504, f"no answer within {self._limits.timeout_s:g} s."))
        except Refusal as refusal:
            await answer.refuse(scope["path"], refusal)
        finally:
            path = scope["path"] if scope["path"] in self._known else "other"
            self._metrics.request(path, answer.status or 499, time.perf_counter() - start)

    def _admit(self, scope: Scope) -> None:
        """Raises Refusal for a request that is none of those that are answered."""
        headers: dict[bytes, list[bytes]] = {}
        for name, value in scope["headers"]:
            headers.setdefault(name, []).append(value)
        host = headers.get(b"host", [])
        name = _host_name(host[0]) if len(host) == 1 else None
        if name not in self._hosts:
            raise Refusal(421, "the header Host is not one of this service. Its parameter service.hosts lists them.")
        if (origin := headers.get(b"origin")) and _host_name(_network_place(origin[0])) not in self._hosts:
            raise Refusal(403, "pages of other sites may not ask this service.")
        wait = self._rates.wait(scope["client"][0] if scope.get("client") else "")
        if wait:
            raise Refusal(429, "too many requests from this address. Ask again later.", retry_after=wait)
        if self._token and scope["path"] not in self._open:
            given = headers.get(b"authorization", [b""])[0]
            if not hmac.compare_digest(given, f"Bearer {self._token}".encode()):
                raise Refusal(401, "a token is needed: Authorization: Bearer <token>.")
        if (length := headers.get(b"content-length")) and not self._fits(length[0]):
            raise Refusal(413, self._too_large)

    def _fits(self, length: bytes) -> bool:
        return length.isdigit() and len(length) < 16 and int(length) <= 1024 * self._limits.body_kb

    @property
    def _too_large(self) -> str:
        return f"the body is larger than {self._limits.body_kb} KiB."

    def _bounded(self, scope: Scope, receive: Receive) -> Receive:
        """The body, refused where it grows beyond what is allowed, whatever its header says."""
        size = 0

        async def bounded() -> Message:
            nonlocal size
            message = await receive()
            size += len(message.get("body", b""))
            if size > 1024 * self._limits.body_kb:
                raise Refusal(413, self._too_large)
            return message

        return bounded


class _Answer:
    """What is sent, with the headers that every answer has."""

    def __init__(self, send: Send) -> None:
        self._send = send
        self.status: int | None = None

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            message = {**message, "headers": [*message.get("headers", []), *_ENCODED_HEADERS]}
        await self._send(message)

    async def refuse(self, path: str, refusal: Refusal) -> None:
        """An error as JSON, unless an answer has begun."""
        if self.status is not None:
            return
        body = json.dumps(error_body(path, refusal.status_code, refusal.detail)).encode()
        extra = [(name.lower().encode(), value.encode()) for name, value in (refusal.headers or {}).items()]
        headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode()), *extra]
        await self({"type": "http.response.start", "status": refusal.status_code, "headers": headers})
        await self({"type": "http.response.body", "body": body})


class _Rates:
    """A bucket of tokens for each address: `burst` of them, of which `rate` come back a second."""

    def __init__(self, rate: float, burst: int) -> None:
        self._rate, self._burst = rate, burst
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def wait(self, address: str) -> int:
        """Seconds until the address may ask; 0 where it may now, which takes one of its tokens."""
        now = time.monotonic()
        tokens, last = self._buckets.pop(address, (float(self._burst), now))
        tokens = min(self._burst, tokens + (now - last) * self._rate)
        allowed = tokens >= 1
        self._buckets[address] = (tokens - allowed, now)
        while len(self._buckets) > _ADDRESSES:
            self._buckets.popitem(last=False)
        return 0 if allowed else max(1, round((1 - tokens) / self._rate))


def _network_place(origin: bytes) -> bytes:
    try:
        return urlsplit(origin.decode("ascii")).netloc.encode()
    except (UnicodeDecodeError, ValueError):
        return b""


def _host_name(value: bytes) -> str | None:
    """The name in a Host header, lower case, without its port; None for what is none."""
    try:
        text: Any = value.decode("ascii").lower()
    except UnicodeDecodeError:
        return None
    if text.startswith("["):
        name, bracket, port = text[1:].partition("]")
        return name if bracket and (not port or _is_port(port)) else None
    name, colon, port = text.partition(":")
    return name if not colon or _is_port(f":{port}") else None


def _is_port(text: str) -> bool:
    return text.startswith(":") and text[1:].isdigit()
