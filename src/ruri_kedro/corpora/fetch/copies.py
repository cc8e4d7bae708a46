"""Files that a recipe reads as they are published: fetched, compared by checksum, and kept as they are.

Where no checksum is known, that of the first fetch is written to a file that the user commits: later ones, and those of
others, are held to it.
"""

import hashlib
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import yaml

from ruri_kedro.corpora.fetch.download import download, mirrored
from ruri_kedro.errors import DataError
from ruri_kedro.tables.files import replace_file

CHECKSUMS = "checksums.yml"

_HUB = "https://huggingface.co"
_SHA256 = re.compile("[0-9a-f]{64}")
_BLOCK = 2**20
_REMEDY = "Restore it, or remove it to begin anew"


@dataclass(frozen=True)
class Copy:
    """One file of a recipe, as the address has it; `sha256` of its bytes is None where nobody knows it."""

    path: str
    licence: str
    url: str
    sha256: str | None = None

    @property
    def corpus(self) -> str:
        """Name of the set, which is the name of its folder."""
        return self.path.partition("/")[0]


class Checksums:
    """The checksums of first fetches, by path; `file` is where they are kept."""

    def __init__(self, file: Path) -> None:
        self.file = file
        self._known = dict(_read(file))

    def of(self, copy: Copy) -> str | None:
        """The checksum that a file has to have, if one is known: what was taken here goes before what was expected."""
        return self._known.get(copy.path) or copy.sha256

    def add(self, copy: Copy, digest: str) -> None:
        """Keep the checksum of a first fetch; the file is written anew."""
        self._known[copy.path] = digest
        lines = [f'"{path}": "{known}"\n' for path, known in sorted(self._known.items())]
        self.file.parent.mkdir(parents=True, exist_ok=True)
        with replace_file(self.file) as aside:
            aside.write_text(f"# sha256 of what was fetched first, held to since. Commit this file.\n{''.join(lines)}")


def is_copied(copy: Copy, target: Path, checksums: Checksums) -> bool:
    """Whether the file is there with its checksum; without a known one it is not."""
    return target.is_file() and digest_of(target) == checksums.of(copy)


def make_copy(
    copy: Copy, target: Path, downloads: Path, base_url: str | None, accept_changes: bool, checksums: Checksums
) -> str:
    """Download, compare, put in place; gives what is to be said. Raises DataError for another checksum."""
    address = mirrored(_at_endpoint(copy.url), base_url)
    fetched = downloads / hashlib.sha256(address.encode()).hexdigest()[:16]
    download(address, fetched, copy.corpus)
    digest, known = digest_of(fetched), checksums.of(copy)
    said = f"{copy.path}: {fetched.stat().st_size:,} bytes ({copy.licence})"
    if known is not None and digest != known and not accept_changes:
        fetched.unlink()
        raise DataError(
            f"{copy.corpus}: {address}: sha256 {digest[:12]} came, not {known[:12]}. Fetch again; if it is the same "
            f"then, look at what has changed and take it with --accept-changes --only {copy.corpus}."
        )
    if digest != known:
        checksums.add(copy, digest)
        why = "no checksum was known" if known is None else "another file than the known one, taken as it is"
        said = f"{said}; {why}: {checksums.file} holds its checksum, commit it"
    target.parent.mkdir(parents=True, exist_ok=True)
    os.replace(fetched, target)
    return said


def digest_of(path: Path) -> str:
    """sha256 of a file."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(_BLOCK):
            digest.update(block)
    return digest.hexdigest()


def _at_endpoint(url: str) -> str:
    """The address at the hub that HF_ENDPOINT names."""
    endpoint = os.environ.get("HF_ENDPOINT", _HUB).rstrip("/")
    return f"{endpoint}{url.removeprefix(_HUB)}" if url.startswith(f"{_HUB}/") else url


def _read(file: Path) -> Mapping[str, str]:
    if not file.is_file():
        return {}
    try:
        known = yaml.safe_load(file.read_text("utf-8")) or {}
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise DataError(f"{file}: not YAML ({type(error).__name__}). {_REMEDY}.") from error
    if not isinstance(known, dict) or not all(_SHA256.fullmatch(str(digest)) for digest in known.values()):
        raise DataError(f"{file}: paths, each with a sha256 of 64 digits, are expected. {_REMEDY}.")
    return known
