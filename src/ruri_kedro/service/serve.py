"""The service from its parameters to the last request."""

import os
import socket
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from ruri_kedro.benchmark.collection import Collection
from ruri_kedro.errors import DataError
from ruri_kedro.recipe.parse import parse
from ruri_kedro.search.bm25.index import BM25Settings
from ruri_kedro.search.multi_vector.settings import MultiVectorSettings
from ruri_kedro.service.deployment import Loader, Pools
from ruri_kedro.service.metrics import Metrics
from ruri_kedro.service.running import Service
from ruri_kedro.service.selection import Selection
from ruri_kedro.service.settings import ServiceSettings
from ruri_kedro.service.stored_documents import open_collection

_HEADER_BYTES = 2**16  # of a request's line and headers


def bound_socket(host: str, port: int) -> socket.socket:
    """A socket that listens there. Raises DataError where it cannot."""
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        return socket.create_server((host, port), family=family, backlog=2048)
    except (OSError, OverflowError) as error:
        known = isinstance(error, OSError) and not isinstance(error, socket.gaierror) and error.errno
        reason = os.strerror(error.errno) if known else error
        raise DataError(f"{host}, port {port}: {reason}. Another program may have it: give another --port.") from error


def make_service(
    params: Mapping[str, Any],
    selection: Selection,
    collection: Collection,
    project: Path,
    tell: Callable[[str], object] = lambda line: None,
) -> Service:
    """A service that is ready to answer: models loaded, indexes built or opened.

    params: a recipe's blocks `service`, `bm25` and `multi_vector`. Relative folders lie in `project`. `tell` is given a
    line for each thing that is ready.
    """
    settings = parse(ServiceSettings, params["service"], "service")
    chosen = selection.now()
    for place, one in chosen.items():
        tell(f"{place}: {one.label}{f' ({one.alias})' if one.alias else ''}")
    root = project / settings.folder
    documents = open_collection(collection, root)
    tell(f"collection: {documents.name}, {len(documents):,} documents")
    metrics = Metrics()
    loader = Loader(
        documents=documents,
        bm25=parse(BM25Settings, params["bm25"], "bm25"),
        tokens=parse(MultiVectorSettings, params["multi_vector"], "multi_vector"),
        settings=settings,
        root=root,
        pools=Pools(settings.threads),
        metrics=metrics,
    )
    deployment = loader.load(chosen)
    return Service(settings, selection, loader, deployment, metrics, project / settings.judgments)


def run(service: Service, listening: socket.socket, token: str | None) -> None:
    """Answer until the process is asked to end."""
    import uvicorn

    from ruri_kedro.service.app import create_app

    config = uvicorn.Config(
        create_app(service, token),
        log_level="warning",
        access_log=False,
        server_header=False,
        proxy_headers=False,
        limit_concurrency=service.settings.limits.connections,
        http="h11",  # which bounds the size of headers
        h11_max_incomplete_event_size=_HEADER_BYTES,
        ws="none",
        timeout_graceful_shutdown=5,
    )
    uvicorn.Server(config).run(sockets=[listening])
