"""Files over HTTP, whole or not at all."""

import tarfile
import time
import urllib.parse
import zlib
from collections.abc import Iterator
from fnmatch import fnmatchcase
from pathlib import Path

import httpx2
from tqdm import tqdm

from ruri_kedro.errors import DataError
from ruri_kedro.tables.files import replace_file

# What reading a damaged file, or one of another form, raises. A proxy's page in place of an archive is one of these.
UNREADABLE = (OSError, EOFError, ValueError, zlib.error, tarfile.TarError)

_TRIES = 3
_WAIT = 2.0  # seconds, doubled after each try
_PASSING = {408, 425, 429}  # and all from 500 on


def mirrored(url: str, base_url: str | None) -> str:
    """`url` at a mirror, which keeps each host in a folder: `<base_url>/<host>/<path>`."""
    if base_url is None:
        return url
    parts = urllib.parse.urlsplit(url)
    return f"{base_url.rstrip('/')}/{parts.netloc}{parts.path}"


def download(url: str, target: Path, corpus: str, timeout: float = 30.0) -> None:
    """Write what `url` answers to `target`; a file that is there already is kept.

    Raises DataError that names the corpus, the address and what to do. Only what may pass by itself is tried again: a
    server's error, a connection that fails, an answer that breaks off.
    """
    if target.exists():
        return
    for attempt in range(1, _TRIES + 1):
        try:
            _stream(url, target, timeout)
            return
        except httpx2.HTTPStatusError as error:
            status = error.response.status_code
            if attempt == _TRIES or not (status in _PASSING or status >= 500):
                said = f"HTTP {status} {error.response.reason_phrase}"
                raise DataError(f"{corpus}: {url}: {said}. {_remedy(status)}") from error
        except (httpx2.RequestError, httpx2.InvalidURL) as error:
            if attempt == _TRIES or isinstance(error, httpx2.InvalidURL | httpx2.UnsupportedProtocol):
                raise DataError(f"{corpus}: {url} cannot be fetched ({error}). {_remedy(None)}") from error
        time.sleep(_WAIT * 2 ** (attempt - 1))


def files_of_archive(path: Path, pattern: str) -> Iterator[tuple[str, str]]:
    """(path, text) of the files in a .tar.gz whose path below its top folder fits `pattern`, by path."""
    with tarfile.open(path) as archive:
        texts = {}
        for member in archive:
            name = member.name.partition("/")[2]
            if member.isfile() and fnmatchcase(name, pattern):
                texts[name] = archive.extractfile(member).read().decode("utf-8")
    yield from sorted(texts.items())


def _stream(url: str, target: Path, timeout: float) -> None:
    """Write an answer's bytes as they are sent. Raises httpx2's errors, also for an answer that breaks off."""
    # Packed on the way only by the file's own form: what is stored has to be what the address names.
    headers = {"User-Agent": "ruri-kedro", "Accept-Encoding": "identity"}
    with httpx2.stream("GET", url, headers=headers, timeout=timeout, follow_redirects=True) as answer:
        answer.raise_for_status()
        size = int(answer.headers.get("Content-Length") or 0)
        bar = tqdm(total=size or None, unit="B", unit_scale=True, desc=target.name[:40], leave=False, disable=None)
        with replace_file(target) as aside, aside.open("wb") as handle, bar:
            for chunk in answer.iter_raw():
                handle.write(chunk)
                bar.update(len(chunk))


def _remedy(code: int | None) -> str:
    if code == 404:
        return "The file has gone from there: give a mirror with --base-url, or put the converted file in place."
    return "Check the network and its proxy, or give a mirror with --base-url. What is there already is kept."
