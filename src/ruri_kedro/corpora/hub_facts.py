"""What the hub says about the models and data sets of a recipe: their commits, files, licences, and who may read them.

Answers are those of strangers: they are bounded in size, and only plain lines of them come out.
"""

from collections.abc import Collection, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any

from ruri_kedro.corpora.hub import TIMEOUT, reason
from ruri_kedro.errors import DataError
from ruri_kedro.recipe.revisions import COMMIT, Repository
from ruri_kedro.text.foreign import one_line

if TYPE_CHECKING:
    import httpx2

LONGEST_ANSWER = 32 * 2**20  # bytes: the list of the 60,000 files of a data set has some 20 million
_AT_ONCE = 8
_KINDS = {"model": "model", "dataset": "data set"}

Pin = tuple[Repository, str | None]  # a repository, and the commit that the recipe itself has


@dataclass(frozen=True)
class RepositoryFacts:
    """A model or data set as the hub has it at a commit; `counts` are rows by (configuration, split) of its card."""

    commit: str
    licence: str
    gated: bool
    files: tuple[tuple[str, int], ...]  # path and size in bytes
    counts: Mapping[tuple[str, str], int]

    def size(self, patterns: Collection[str] = ()) -> int:
        """Bytes of the files that one of the patterns fits; of all without patterns."""
        return sum(size for path, size in self.files if not patterns or any(_fits(path, each) for each in patterns))

    def rows(self, configuration: str | None, splits: Collection[str]) -> int | None:
        """Rows of these splits of a configuration, or of the only one there is; None where the card does not say."""
        names = {name for name, _ in self.counts}
        name = configuration or (next(iter(names)) if len(names) == 1 else "default")
        found = [self.counts.get((name, split)) for split in splits]
        return None if None in found or not found else sum(filter(None, found))


def ask_hub(wanted: Collection[Pin]) -> dict[Pin, RepositoryFacts | str]:
    """The facts of repositories, each at a revision or, where that is None, at its branch; or why there are none."""
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        return dict(zip(wanted, pool.map(_ask, wanted), strict=True))


@contextmanager
def bounded_answers() -> Iterator[None]:
    """As long as the block lasts the hub's API may answer LONGEST_ANSWER bytes at most, as they are sent."""
    from huggingface_hub import set_client_factory
    from huggingface_hub.utils._http import default_client_factory

    def client() -> "httpx2.Client":
        made = default_client_factory()
        made.headers["Accept-Encoding"] = "identity"  # what is packed has no size before it is unpacked
        made.event_hooks = {**made.event_hooks, "response": [*made.event_hooks["response"], _bound]}
        return made

    set_client_factory(client)
    try:
        yield
    finally:
        set_client_factory(default_client_factory)


class _Bounded:
    """The body of an answer, which ends with an error where it is too long."""

    def __init__(self, stream: Any, address: str) -> None:
        self._stream, self._address = stream, address

    def __iter__(self) -> Iterator[bytes]:
        read = 0
        for block in self._stream:
            read += len(block)
            if read > LONGEST_ANSWER:
                raise DataError(f"{self._address} answers more than {LONGEST_ANSWER:,} bytes")
            yield block

    def close(self) -> None:
        self._stream.close()


def _bound(response: "httpx2.Response") -> None:
    """Bound the answer of an API; files are read in blocks anyway."""
    import httpx2

    path = one_line(response.request.url.path)
    if not path.startswith("/api/"):
        return
    if response.headers.get("Content-Encoding", "identity") != "identity":
        raise DataError(f"{path} answers packed, which was not asked for")

    class Stream(_Bounded, httpx2.SyncByteStream):
        """What httpx2 takes for a body."""

    response.stream = Stream(response.stream, path)


def _ask(pin: Pin) -> RepositoryFacts | str:
    from huggingface_hub import HfApi

    repository, revision = pin
    page = f"https://huggingface.co/{'' if repository.kind == 'model' else 'datasets/'}{repository.id}"
    try:
        info = HfApi().repo_info(
            repository.id,
            repo_type=repository.kind,
            revision=revision or repository.ref,
            timeout=TIMEOUT,
            files_metadata=True,
        )
        return _facts(info)
    # huggingface_hub and httpx2 have a family of errors each, and an answer of another form may raise any.
    except Exception as error:
        return reason(error, _KINDS[repository.kind], page, revision)


def _facts(info: Any) -> RepositoryFacts:
    """The facts of an answer, as far as they are of the form expected. Raises DataError without a commit."""
    if not COMMIT.fullmatch(str(info.sha)):
        raise DataError("the hub names no commit")
    files = tuple(
        (str(file.rfilename), file.size) for file in info.siblings or () if isinstance(file.size, int) and file.size > 0
    )
    card = _mapping(info.card_data.to_dict() if info.card_data else None)
    licence = card.get("license") or next((tag for tag in info.tags or () if str(tag).startswith("license:")), "")
    licence = ", ".join(map(str, licence)) if isinstance(licence, list) else str(licence)
    gated = str(info.gated or "") not in ("", "False")
    return RepositoryFacts(info.sha, one_line(licence.removeprefix("license:"), 40), gated, files, _counts(card))


def _counts(card: Mapping[str, Any]) -> dict[tuple[str, str], int]:
    """Rows by configuration and split that the card of a data set tells."""
    told = card.get("dataset_info")
    blocks = [_mapping(block) for block in (told if isinstance(told, list) else [told])]
    rows = {}
    for block in blocks:
        name = str(block.get("config_name") or "default")
        splits = block.get("splits")
        for split in map(_mapping, splits if isinstance(splits, list) else ()):
            if isinstance(count := split.get("num_examples"), int):
                rows[name, str(split.get("name"))] = count
    return rows


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _fits(path: str, pattern: str) -> bool:
    """Whether a file fits a pattern such as `data/train-*`, in which a star stands within one folder."""
    place, wanted = PurePosixPath(path), PurePosixPath(pattern)
    return len(place.parts) == len(wanted.parts) and place.match(pattern)
