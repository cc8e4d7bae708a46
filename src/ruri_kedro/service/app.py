"""The service over HTTP: search, reranking and vectors, the page, and what operators ask."""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from importlib.metadata import version
from importlib.resources import files
from typing import Any

from fastapi import APIRouter, FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, PlainTextResponse, Response
from starlette.exceptions import HTTPException

from ruri_kedro.service import searches, vectors
from ruri_kedro.service.limits import Gate
from ruri_kedro.service.refusals import error_body, validation_message
from ruri_kedro.service.running import Running, Service

logger = logging.getLogger(__name__)

_PAGE = {
    "/": ("index.html", "text/html; charset=utf-8"),
    "/page.css": ("page.css", "text/css; charset=utf-8"),
    "/page.js": ("page.js", "text/javascript; charset=utf-8"),
    "/words.js": ("words.js", "text/javascript; charset=utf-8"),
    "/docs": ("docs.html", "text/html; charset=utf-8"),
    "/docs.js": ("docs.js", "text/javascript; charset=utf-8"),
}
_OPEN = (*_PAGE, "/healthz", "/openapi.json")  # what needs no token: nothing of the collection is in it
router = APIRouter(tags=["operation"])


def create_app(service: Service, token: str | None = None) -> FastAPI:
    """The ASGI app of a service. With a token every request but those for the page and /healthz has to give it."""

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        following = asyncio.create_task(service.follow())
        yield
        following.cancel()
        with suppress(asyncio.CancelledError):
            await following
        service.loader.pools.close()

    # FastAPI's own pages for the documentation fetch their scripts from elsewhere.
    app = FastAPI(
        title="ruri-kedro",
        version=version("ruri-kedro"),
        description="Search, reranking and embeddings by the models of a registry.",
        docs_url=None,
        redoc_url=None,
        lifespan=lifespan,
    )
    app.state.service = service
    for path, (name, media_type) in _PAGE.items():
        app.add_api_route(path, _file(name, media_type), include_in_schema=False)
    for routes in (router, searches.router, vectors.router):
        app.include_router(routes)
    app.add_exception_handler(HTTPException, _refused)
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(Exception, _failed)
    settings = service.settings
    app.add_middleware(
        Gate,
        limits=settings.limits,
        hosts=(*settings.hosts, settings.host),
        token=token,
        open_paths=_OPEN,
        known_paths=[*_PAGE, *app.openapi()["paths"]],
        metrics=service.metrics,
    )
    return app


def _file(name: str, media_type: str) -> Callable[[], Response]:
    content = (files("ruri_kedro.service") / "page" / name).read_bytes()

    def page() -> Response:
        return Response(content, media_type=media_type)

    return page


@router.get("/healthz")
def healthz() -> dict[str, str]:
    """Whether it answers."""
    return {"status": "ok"}


@router.get("/about")
def about(service: Running) -> dict[str, Any]:
    """What is served: the collection, the models by place, the systems."""
    deployment = service.deployment
    models = [deployment.places[place] for place in ("model", "compared") if place in deployment.places]
    return {
        "collection": {"name": deployment.documents.name, "documents": len(deployment.documents)},
        "models": deployment.labels(),
        "systems": service.searching.systems(models),
        "late_interaction": [one.label for one in models if one.inference.system == "late_interaction"],
        "results": service.settings.results,
        "most_results": service.settings.limits.results,
    }


@router.get("/metrics", response_class=PlainTextResponse)
def metrics(service: Running) -> PlainTextResponse:
    """Counters in the text form of Prometheus."""
    return PlainTextResponse(service.metrics.text(service.deployment.labels()), media_type="text/plain; version=0.0.4")


async def _refused(request: Request, error: HTTPException) -> JSONResponse:
    body = error_body(request.url.path, error.status_code, str(error.detail))
    return JSONResponse(body, error.status_code, error.headers)


async def _invalid(request: Request, error: RequestValidationError) -> JSONResponse:
    path = request.url.path
    status = 400 if path.startswith("/v1/") else 422
    return JSONResponse(error_body(path, status, validation_message(error.errors())), status)


async def _failed(request: Request, error: Exception) -> JSONResponse:
    """What went wrong here stands in the log, and in no answer: it may name files of this machine."""
    logger.error("%s %s failed", request.method, request.url.path, exc_info=error)
    return JSONResponse(error_body(request.url.path, 500, "internal error; the service's log says more."), 500)
