"""A server in the background of a test, with all the processes that it starts."""

import os
import signal
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path


def free_port() -> int:
    """A port of loopback that nobody listens on."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


@contextmanager
def running(
    command: Sequence[str], health: str, log: Path, environment: Mapping[str, str] | None = None, seconds: float = 400
) -> Iterator[None]:
    """Run a server until the block ends, which begins when the address `health` answers."""
    with log.open("wb") as handle:
        server = subprocess.Popen(
            command, stdout=handle, stderr=subprocess.STDOUT, env=environment, cwd=log.parent, start_new_session=True
        )
    try:
        deadline = time.monotonic() + seconds
        while not _answers(health):
            assert server.poll() is None, log.read_text("utf-8")
            assert time.monotonic() < deadline, f"{health} does not answer: {log.read_text('utf-8')}"
            time.sleep(0.5)
        yield
    finally:
        # Its workers are processes of their own.
        with suppress(ProcessLookupError):
            os.killpg(server.pid, signal.SIGTERM)
        server.wait(timeout=60)


def _answers(address: str) -> bool:
    try:
        urllib.request.urlopen(address, timeout=5).close()
    except urllib.error.HTTPError as error:
        return error.code < 500
    except OSError:
        return False
    return True
