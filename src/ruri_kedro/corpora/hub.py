"""Data sets on the Hugging Face hub, at a pinned revision, read as a stream; no code of theirs is run."""

from collections.abc import Collection, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO, Any

from ruri_kedro.errors import DataError, RecipeError, RuriError
from ruri_kedro.recipe.parse import parameters
from ruri_kedro.recipe.revisions import COMMIT, MAIN
from ruri_kedro.tables.formats import RawFile, Record
from ruri_kedro.tables.raw import raw_files
from ruri_kedro.text.foreign import said

TIMEOUT = 10.0  # seconds: `datasets` itself tries again for half a minute
_AT_ONCE = 8
_BATCH = 1024

_REASONS = {  # by the names of the errors of huggingface_hub, datasets and httpx, the special ones first
    "GatedRepoError": "it is gated: accept its terms on {page} and log in (hf auth login)",
    "RevisionNotFoundError": "there is no such revision: take one from {page}/commits/main",
    "RepositoryNotFoundError": "there is no such {kind}, or it is private: look at {page}, or log in (hf auth login)",
    "DatasetNotFoundError": "there is no such data set, or it is private or gated: look at {page}",
    "EntryNotFoundError": "there is no such file at this revision: look at {page}/tree/{revision}",
    "FileNotFoundError": "there is no such file at this revision: look at {page}/tree/{revision}",
    "TransportError": "the hub cannot be reached ({error}). {offline}",
    "ConnectionError": "the hub cannot be reached ({error}). {offline}",
    "OfflineModeIsEnabled": "the hub is switched off (HF_HUB_OFFLINE). {offline}",
}
_REFUSALS = {  # by the status of an answer, where the kind of error says less
    401: "it asks for a login, or does not know this one (hf auth login): look at {page}",
    403: "this login may not read it: ask for access at {page}",
    404: "it has gone from there: look at {page}",
    429: "the hub has had too many requests: wait some minutes, or log in (hf auth login)",
}
_OFFLINE = "Check the network, or name a folder with a copy in place of the name"


@parameters
class Hub:
    """A data set on the hub: its id, the commit it is pinned to, and which configuration and splits of it.

    `split` may name several, as `dev+unused`. An id that is a folder is a copy of a data set and needs no revision.
    `ref` is the branch whose commit `kedro ruri pin` takes, such as refs/convert/parquet; None: main.
    """

    id: str
    revision: str | None = None
    name: str | None = None
    split: str = "train"
    ref: str | None = None

    @property
    def is_local(self) -> bool:
        """Whether the id is a folder."""
        return Path(self.id).is_dir()

    def __str__(self) -> str:
        return self.id if self.is_local else f"{self.id}@{(self.revision or 'no revision')[:12]}"


@dataclass(frozen=True)
class HubFile:
    """One file of a data set on the hub."""

    hub: Hub
    path: str

    @property
    def name(self) -> str:
        """The last part of its path."""
        return PurePosixPath(self.path).name

    def open(self, mode: str) -> IO[bytes]:
        """A stream that reads the file in blocks, as they are needed."""
        return _file_system().open(f"{_address(self.hub)}/{self.path}", mode)

    def __str__(self) -> str:
        return f"{self.hub}/{self.path}"


def check_hubs(hubs: Collection[Hub]) -> dict[Hub, RuriError]:
    """What is wrong with each data set that cannot be used: it is not pinned, not there, or the hub is out of reach."""
    remote = [hub for hub in dict.fromkeys(hubs) if not hub.is_local]
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        found = zip(remote, pool.map(_problem, remote), strict=True)
        return {hub: problem for hub, problem in found if problem}


def _problem(hub: Hub) -> RuriError | None:
    if not COMMIT.fullmatch(hub.revision or ""):
        given = f"revision '{hub.revision}' is no commit" if hub.revision else "has no revision"
        return RecipeError(
            f"hub data set '{hub.id}' {given}, so it may be another one tomorrow. Run kedro ruri pin, give the commit "
            f"(40 digits) that {_page(hub)}/commits/{hub.ref or MAIN} shows as hub.revision, or name a folder with a "
            "copy as hub.id."
        )
    from huggingface_hub import HfApi

    try:
        with hub_errors(hub):
            HfApi().dataset_info(hub.id, revision=hub.revision, timeout=TIMEOUT)
    except DataError as error:
        return error
    return None


def hub_files(hub: Hub, pattern: str) -> list[RawFile]:
    """The files of the data set that fit a pattern, in order of their paths."""
    if hub.is_local:
        return list(raw_files(Path(hub.id), pattern))
    with hub_errors(hub):
        base = _address(hub)
        paths = sorted(str(path) for path in _file_system().glob(f"{base}/{pattern}"))
    if not paths:
        raise DataError(f"hub data set {hub}: no file fits '{pattern}': look at {_page(hub)}/tree/{hub.revision}.")
    return [HubFile(hub, path.removeprefix(f"{base}/")) for path in paths]


def hub_records(hub: Hub, split: str, columns: Collection[str] | None) -> Iterator[Record]:
    """The records of the splits, as a stream of Arrow batches; of `columns` those that are there, None: all."""
    from datasets import load_dataset

    number = 0
    with hub_errors(hub):
        for part in split.split("+"):
            stream = load_dataset(
                hub.id, hub.name, split=part, revision=hub.revision, streaming=True, trust_remote_code=False
            )
            if stream.column_names and columns is not None:
                stream = stream.select_columns([name for name in stream.column_names if name in columns])
            for batch in stream.with_format("arrow").iter(batch_size=_BATCH):
                for row in batch.to_pylist():
                    number += 1
                    yield number, row


@contextmanager
def hub_errors(hub: Hub) -> Iterator[None]:
    """Whatever goes wrong with the hub becomes one DataError that names the data set and what to do."""
    try:
        yield
    except RuriError as error:
        # A reader of files says only that one cannot be read; the hub's own refusal says why.
        if getattr(error.__cause__, "response", None) is None:
            raise
        raise DataError(f"hub data set {hub}: {_reason(hub, error.__cause__)}.") from error
    # datasets, huggingface_hub, fsspec and httpx have a family of errors each.
    except Exception as error:
        raise DataError(f"hub data set {hub}: {_reason(hub, error)}.") from error


def _reason(hub: Hub, error: Exception) -> str:
    return reason(error, "data set", _page(hub), hub.revision)


def reason(error: Exception, kind: str, page: str, revision: str | None) -> str:
    """What an error of the hub means and what to do, as one line without a token; `page` is that of the repository."""
    facts: Mapping[str, Any] = {
        "kind": kind, "page": page, "revision": revision, "error": said(error), "offline": _OFFLINE,
    }  # fmt: skip
    families = [family.__name__ for family in type(error).__mro__]
    known = next((said for name, said in _REASONS.items() if name in families), None)
    status = getattr(getattr(error, "response", None), "status_code", None)
    template = known or _REFUSALS.get(status) or f"it cannot be read ({type(error).__name__}: {{error}})"
    return template.format(**facts) + (f" (HTTP {status})" if isinstance(status, int) else "")


def _page(hub: Hub) -> str:
    return f"https://huggingface.co/datasets/{hub.id}"


def _address(hub: Hub) -> str:
    return f"datasets/{hub.id}@{hub.revision}"


def _file_system() -> Any:
    from huggingface_hub import HfFileSystem

    return HfFileSystem()
