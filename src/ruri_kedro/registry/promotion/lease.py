"""One at a time on a registered model, for all who use the same registry database.

MLflow has no compare-and-set. Each contender therefore writes a tag of its own, and only then looks who else is there:
of two, at least the one that looked last sees the other, so never both go on. It asks of the database that a write is
seen by every read that starts after it has returned. A lease of a process that has died on this machine ends at once,
of one on another machine some time later; the clocks of the machines that promote may differ by less than that.
"""

import random
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from ruri_kedro.errors import RegistryError
from ruri_kedro.registry.runs.liveness import is_dead, this_process
from ruri_kedro.registry.runs.tracking import mlflow_client

_PREFIX = "promotion.lease."
SECONDS = 120.0  # that a lease is good for
WAIT = 20.0  # seconds


class Lease:
    """A lease that is held."""

    def __init__(self, name: str, ends: float) -> None:
        self._name, self._ends = name, ends

    def check(self) -> None:
        """Raise RegistryError if the lease is in its last quarter: what is not written by now may be overtaken."""
        if time.time() > self._ends - SECONDS / 4:
            raise RegistryError(f"'{self._name}': the registry was too slow, nothing was moved. Try again.")


@contextmanager
def lease(name: str, wait: float = WAIT) -> Iterator[Lease]:
    """Hold the registered model `name` for a short while.

    Raises RegistryError if somebody else holds it for longer than `wait` seconds.
    """
    client = mlflow_client()
    token = f"{_PREFIX}{uuid.uuid4().hex}/{this_process()}"
    held = _acquire(client, name, token, time.monotonic() + wait)
    try:
        yield held
    finally:
        client.delete_registered_model_tag(name, token)


def _acquire(client: Any, name: str, token: str, deadline: float) -> Lease:
    while True:
        ends = time.time() + SECONDS
        client.set_registered_model_tag(name, token, repr(ends))
        others = _others(client, name, token)
        if not others:
            return Lease(name, ends)
        # Stepping back lets the other through; the waits differ, so two do not step back for ever.
        client.delete_registered_model_tag(name, token)
        if time.monotonic() > deadline:
            left = max(others.values()) - time.time()
            raise RegistryError(
                f"'{name}': another promotion or rollback is under way. Try again; if it has died, its hold ends in "
                f"{left:.0f} seconds."
            )
        time.sleep(random.uniform(0.05, 0.5))


def _others(client: Any, name: str, token: str) -> dict[str, float]:
    """Leases of others that have not ended, with the time of their end; those that have, or are of the dead, go."""
    tags = client.get_registered_model(name).tags
    ends = {key: float(value) for key, value in tags.items() if key.startswith(_PREFIX) and key != token}
    for key in [key for key, end in ends.items() if end <= time.time() or is_dead(key.rpartition("/")[2])]:
        client.delete_registered_model_tag(name, key)
        del ends[key]
    return ends
