"""Which files a recipe needs, whether they are there, and how they are made."""

import gzip
import hashlib
import json
import shutil
import tomllib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from ruri_kedro.corpora.fetch.convert import CONVERTERS
from ruri_kedro.corpora.fetch.copies import CHECKSUMS, Checksums, Copy, is_copied, make_copy
from ruri_kedro.corpora.fetch.download import UNREADABLE, download, files_of_archive, mirrored
from ruri_kedro.errors import DataError
from ruri_kedro.tables.files import remove_leftovers, replace_file

_HERE = Path(__file__).parent
_DOWNLOADS = ".downloads"
_RAW = "https://raw.githubusercontent.com"
_ARCHIVE = "https://codeload.github.com"


@dataclass(frozen=True)
class Output:
    """One output file of a recipe: its rows, and the files of a GitHub commit that they are made of.

    `members` says that the files are taken out of the commit's archive, by pattern: there are thousands of them.
    `sha256` is of the lines before compression, without spaces if `ignore_spaces`.
    """

    path: str
    licence: str
    repository: str
    commit: str
    converter: str
    rows: int
    sha256: str
    files: tuple[str, ...] = ()
    members: str | None = None
    ignore_spaces: bool = False

    @property
    def corpus(self) -> str:
        """Name of the set, which is the name of its folder."""
        return self.path.partition("/")[0]

    @property
    def urls(self) -> list[str]:
        """Addresses of what is downloaded."""
        if self.members:
            return [f"{_ARCHIVE}/{self.repository}/tar.gz/{self.commit}"]
        return [f"{_RAW}/{self.repository}/{self.commit}/{file}" for file in self.files]


def recipes() -> list[str]:
    """Recipes whose corpora can be fetched."""
    return sorted(path.stem for path in _HERE.glob("*.toml"))


def command_for(path: str, out: Path) -> str | None:
    """The command that fetches what a recipe reads at a file, folder or pattern below `out`; None where none does."""
    for recipe in sorted(recipes(), key=lambda recipe: recipe != out.name):
        found = sorted({file.corpus for file in read_spec(recipe) if _is_at(file.path, path)})
        if found:
            own = "" if out == Path("data/01_raw") / recipe else f" --out {out}"
            return f"python -m ruri_kedro.corpora.fetch {recipe} --only {' '.join(found)}{own}"
    return None


def _is_at(file: str, path: str) -> bool:
    return PurePosixPath(file).match(path) or PurePosixPath(path) in PurePosixPath(file).parents


def read_spec(recipe: str) -> list[Output | Copy]:
    """The files of a recipe, from its TOML file."""
    spec = tomllib.loads((_HERE / f"{recipe}.toml").read_text("utf-8"))
    outputs = [Output(**{**row, "files": tuple(row.get("files", ()))}) for row in spec.get("output", ())]
    return [*outputs, *(Copy(**row) for row in spec.get("copy", ()))]


def fetch(
    files: Iterable[Output | Copy],
    out: Path,
    base_url: str | None = None,
    only: Sequence[str] | None = None,
    accept_changes: bool = False,
    checksums: Path | None = None,
) -> None:
    """Make the files that are not yet in `out` as they should be, and say of each set whose licence it is under.

    A run that was stopped goes on where it was: finished files and downloads are kept. `checksums` is the file of those
    that nobody knew before the first fetch. Raises DataError.
    """
    wanted = list(files)
    known_by_fetch = Checksums(checksums or out / CHECKSUMS)
    unknown = set(only or ()) - {output.corpus for output in wanted}
    if unknown:
        known = ", ".join(sorted({output.corpus for output in wanted}))
        raise DataError(f"there is no set '{min(unknown)}'. There are: {known}.")
    for output in wanted:
        if only and output.corpus not in only:
            continue
        target = out / output.path
        is_copy = isinstance(output, Copy)
        if is_copied(output, target, known_by_fetch) if is_copy else _is_current(target, output):
            print(f"{output.path}: there ({output.licence})")
        elif is_copy:
            print(make_copy(output, target, out / _DOWNLOADS, base_url, accept_changes, known_by_fetch))
        else:
            _make(output, target, out / _DOWNLOADS, base_url, accept_changes)
            print(f"{output.path}: {output.rows:,} rows ({output.licence}, {output.repository})")
    shutil.rmtree(out / _DOWNLOADS, ignore_errors=True)


def _make(output: Output, target: Path, downloads: Path, base_url: str | None, accept_changes: bool) -> None:
    """Download, convert, compare, write."""
    rows = _rows(output, downloads, base_url)
    lines = [f"{json.dumps(row, ensure_ascii=False)}\n" for row in rows]
    if _digest(lines, output.ignore_spaces) != output.sha256:
        addresses = [mirrored(url, base_url) for url in output.urls]
        changed = f"{output.corpus}: {addresses[0]}: {len(lines):,} rows came, not the {output.rows:,} known ones"
        if not accept_changes:
            # Kept downloads would give the same rows again.
            for address in addresses:
                _kept(downloads, address).unlink(missing_ok=True)
            raise DataError(
                f"{changed}. Fetch again; if they are the same then, look at what has changed and take them with "
                f"--accept-changes --only {output.corpus}."
            )
        print(f"{changed}; taken as they are")
    remove_leftovers(target)
    # Neither a time nor a name in the header: the same rows are the same bytes.
    with replace_file(target) as aside, aside.open("wb") as file, gzip.GzipFile("", "wb", 6, file, 0) as handle:
        handle.writelines(line.encode() for line in lines)


def _rows(output: Output, downloads: Path, base_url: str | None) -> list[dict]:
    opened: list[str] = []
    try:
        return list(CONVERTERS[output.converter](_source(output, downloads, base_url, opened)))
    except (DataError, OSError):
        raise
    # A converter reads one form, and may stumble over another in any way.
    except Exception as error:
        _kept(downloads, opened[-1]).unlink(missing_ok=True)
        raise _of_another_form(output, opened[-1], error) from error


def _source(output: Output, downloads: Path, base_url: str | None, opened: list[str]) -> Iterator[tuple[str, str]]:
    """(path, text) of the source files, downloaded where they are not yet; notes each address in `opened`.

    Raises DataError for one that cannot be read, which is removed: kept, it would fail for ever.
    """
    for number, url in enumerate(output.urls):
        address = mirrored(url, base_url)
        path = _kept(downloads, address)
        download(address, path, output.corpus)
        opened.append(address)
        try:
            if output.members:
                texts = list(files_of_archive(path, output.members))
            else:
                data = path.read_bytes()
                name = output.files[number]
                texts = [(name, (gzip.decompress(data) if name.endswith(".gz") else data).decode("utf-8"))]
        except UNREADABLE as error:
            path.unlink(missing_ok=True)
            raise _of_another_form(output, address, error) from error
        yield from texts


def _kept(downloads: Path, address: str) -> Path:
    """Where what an address answers is kept until the fetch is done."""
    return downloads / hashlib.sha256(address.encode()).hexdigest()[:16]


def _of_another_form(output: Output, address: str, error: Exception) -> DataError:
    return DataError(
        f"{output.corpus}: {address}: not in the form expected ({type(error).__name__}: {error}). This download is "
        "dropped, the others are kept. Fetch again; a proxy may have answered in its place."
    )


def _is_current(path: Path, output: Output) -> bool:
    """Whether the file is there, whole, with the known rows."""
    if not path.exists():
        return False
    try:
        with gzip.open(path, "rt", encoding="utf-8", newline="\n") as lines:
            return _digest(lines, output.ignore_spaces) == output.sha256
    except (OSError, EOFError, UnicodeDecodeError):
        return False


def _digest(lines: Iterable[str], ignore_spaces: bool) -> str:
    digest = hashlib.sha256()
    for line in lines:
        digest.update((line.replace(" ", "") if ignore_spaces else line).encode())
    return digest.hexdigest()
