"""`python -m ruri_kedro.corpora.fetch RECIPE [--out FOLDER] [--only SET ...] [--base-url URL] [--accept-changes]`"""

import argparse
import sys
from pathlib import Path

from ruri_kedro.corpora.fetch.copies import CHECKSUMS
from ruri_kedro.corpora.fetch.fetch import fetch, read_spec, recipes
from ruri_kedro.errors import DataError


def main(arguments: list[str] | None = None) -> int:
    """Fetch the corpora of a recipe; gives the exit status, 1 with one line of error if something is missing."""
    parser = argparse.ArgumentParser(prog="python -m ruri_kedro.corpora.fetch", description=__doc__.strip("`"))
    parser.add_argument("recipe", choices=recipes(), help="recipe whose corpora are fetched")
    parser.add_argument("--out", type=Path, help="folder they are put in (default: data/01_raw/<recipe>)")
    parser.add_argument("--only", nargs="+", metavar="SET", help="only these sets, by the name of their folder")
    parser.add_argument("--base-url", metavar="URL", help="a mirror, which keeps each host in a folder")
    parser.add_argument("--accept-changes", action="store_true", help="take a file that is not the known one")
    parser.add_argument("--checksums", type=Path, help=f"default: conf/<recipe>/{CHECKSUMS}, or in --out without one")
    options = parser.parse_args(arguments)
    out = options.out or Path("data/01_raw") / options.recipe
    conf = Path("conf") / options.recipe
    checksums = options.checksums or (conf if conf.is_dir() else out) / CHECKSUMS
    try:
        fetch(read_spec(options.recipe), out, options.base_url, options.only, options.accept_changes, checksums)
    except (DataError, OSError) as error:  # OSError: a full disk, a folder that may not be written to
        print(f"error: {error}", file=sys.stderr)
        return 1
    print(f"All in {out}. Next: kedro run --env {options.recipe} --params raw_root={out}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
