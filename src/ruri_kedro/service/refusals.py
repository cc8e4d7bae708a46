"""What a request is told that is not answered, in the form that those who sent it read."""

from collections.abc import Sequence
from typing import Any

from starlette.exceptions import HTTPException

_TEI = ("/embed", "/rerank")  # paths in the form of text-embeddings-inference
_TYPES = {413: "Validation", 422: "Validation", 429: "Overloaded", 503: "Overloaded"}


class Refusal(HTTPException):
    """A request that is not answered: its status, and why, in words without paths of this machine."""

    def __init__(self, status: int, message: str, retry_after: int | None = None) -> None:
        headers = {"Retry-After": str(retry_after)} if retry_after is not None else None
        super().__init__(status, message, headers)


def error_body(path: str, status: int, message: str) -> dict[str, Any]:
    """The JSON of an error: of text-embeddings-inference for its paths, of OpenAI for all others."""
    if path in _TEI:
        return {"error": message, "error_type": _TYPES.get(status, "Backend")}
    kind = "invalid_request_error" if status < 500 else "server_error"
    return {"error": {"message": message, "type": kind, "param": None, "code": status}}


def validation_message(faults: Sequence[Any]) -> str:
    """The faults that pydantic found in a request, in a line; what was sent is not repeated."""
    told = []
    for fault in faults[:5]:
        place = ".".join(str(part) for part in fault["loc"] if part not in ("body", "query"))
        told.append(f"{place}: {fault['msg']}" if place else str(fault["msg"]))
    return "; ".join(dict.fromkeys(told))
