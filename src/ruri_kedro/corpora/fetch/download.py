"""Files over HTTP, whole or not at all."""

import tarfile
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from fnmatch import fnmatchcase
from pathlib import Path

from tqdm import tqdm

from ruri_kedro.errors import DataError
from ruri_kedro.tables.files import replace_file

_TRIES = 3
_WAIT = 2.0  # seconds, doubled after each try
_CHUNK = 1 << 16


def mirrored(url: str, base_url: str | None) -> str:
    """`url` at a mirror, which keeps each host in a folder: `<base_url>/<host>/<path>`."""
    if base_url is None:
        return url
    parts = urllib.parse.urlsplit(url)
    return f"{base_url.rstrip('/')}/{parts.netloc}{parts.path}"


def download(url: str, target: Path, corpus: str, timeout: float = 30.0, wait: float = _WAIT) -> None:
    """Write what `url` answers to `target`; a file that is there already is kept.

    Raises DataError that names the corpus, the address and what to do. Only what may pass by itself is tried again.
    """
    if target.exists():
        return
    for attempt in range(1, _TRIES + 1):
        try:
            _stream(url, target, timeout)
            return
        except urllib.error.HTTPError as error:
            if error.code < 500 or attempt == _TRIES:
                raise DataError(f"{corpus}: {url}: HTTP {error.code} {error.reason}. {_remedy(error.code)}") from error
        except (OSError, ValueError) as error:
            if attempt == _TRIES or isinstance(error, ValueError):
                reason = getattr(error, "reason", error)
                raise DataError(f"{corpus}: {url} cannot be fetched ({reason}). {_remedy(None)}") from error
        time.sleep(wait * 2 ** (attempt - 1))


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
    request = urllib.request.Request(url, headers={"User-Agent": "ruri-kedro"})
    with urllib.request.urlopen(request, timeout=timeout) as answer, replace_file(target) as aside:
        size = int(answer.headers.get("Content-Length") or 0)
        bar = tqdm(total=size or None, unit="B", unit_scale=True, desc=target.name[:40], leave=False, disable=None)
        with aside.open("wb") as handle, bar:
            while chunk := answer.read(_CHUNK):
                handle.write(chunk)
                bar.update(len(chunk))
        if size and aside.stat().st_size != size:
            raise OSError(f"{aside.stat().st_size} of {size} bytes came")


def _remedy(code: int | None) -> str:
    if code == 404:
        return "The file has gone from there: give a mirror with --base-url, or put the converted file in place."
    return "Check the network and its proxy, or give a mirror with --base-url. What is there already is kept."
