"""The parameters `service`. No torch is imported here."""

from typing import Annotated

from annotated_types import Ge, Le

from ruri_kedro.errors import RecipeError
from ruri_kedro.models.settings import Device
from ruri_kedro.recipe.parse import Count, Positive, parameters
from ruri_kedro.search.dense.settings import NearestSettings


@parameters
class Limits:
    """What one request, and one address, may ask for."""

    body_kb: Count  # KiB of a request's body
    texts: Count  # of a request
    chars: Count  # of a text
    results: Count  # of a search, and candidates of a reranking
    waiting: Count  # texts or pairs that wait for a model; more are refused
    connections: Count  # that are open at once
    rate: Positive  # requests a second from one address, on average
    burst: Count  # requests from one address at once
    timeout_s: Positive  # of a request


@parameters
class ServiceSettings:
    """What is served, where, from which files, and with what.

    model, compared, reranker: `models:/<name>@<alias>`, `models:/<name>/<version>`, a folder, or a hub name with its
    commit; None: what the registry has (`selection.py`). collection: a task, a source, or files; None: the recipe's
    first. Lengths in tokens.
    """

    host: str
    port: Annotated[int, Ge(0), Le(65535)]
    hosts: tuple[str, ...]  # that may stand in the header Host, besides loopback's names and `host`
    model: str | None
    compared: str | None
    reranker: str | None
    collection: str | None
    folder: str  # of the indexes
    judgments: str  # folder of what people judged
    results: Count  # of a search that does not say how many
    depth: Count  # hits of each retriever that are fused
    rrf_k: Count
    candidates: Count  # the first of the fused list, which are reranked
    max_length: Count
    chunk_tokens: Count  # padded tokens of one forward pass
    batch: Count  # texts or pairs of simultaneous requests that are encoded together
    device: Device
    threads: Count
    nearest: NearestSettings
    poll_s: Positive  # between two looks at the registry
    limits: Limits

    def __post_init__(self) -> None:
        if self.limits.results < max(self.results, self.candidates):
            raise RecipeError(
                f"limits.results: {self.limits.results} is less than results={self.results} or "
                f"candidates={self.candidates}. Raise it."
            )
