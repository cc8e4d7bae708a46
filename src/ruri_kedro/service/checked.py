"""What requests hold, against the limits of the service."""

from collections.abc import Sequence

from ruri_kedro.service.refusals import Refusal
from ruri_kedro.service.settings import Limits
from ruri_kedro.text.normalize import normalize


def checked_query(query: str, limits: Limits) -> str:
    """A query as documents are: normalised. Raises Refusal for one that is too long (413) or blank (422)."""
    checked_texts([query], limits)
    if not (found := normalize(query)):
        raise Refusal(422, "query: nothing but spaces and invisible characters.")
    return found


def checked_texts(texts: Sequence[str], limits: Limits) -> Sequence[str]:
    """The texts. Raises Refusal for too many or too long ones (413), and for none (422)."""
    if not texts:
        raise Refusal(422, "a list of one or more texts is expected.")
    if len(texts) > limits.texts:
        raise Refusal(413, f"{len(texts)} texts are given, allowed are {limits.texts}.")
    for number, text in enumerate(texts):
        if len(text) > limits.chars:
            raise Refusal(413, f"text {number}: {len(text)} characters, allowed are {limits.chars}.")
    return texts


def checked_count(k: int, limits: Limits) -> int:
    """How many hits. Raises Refusal (413) for more than are allowed."""
    if k > limits.results:
        raise Refusal(413, f"k: {k}, allowed are {limits.results}.")
    return k
