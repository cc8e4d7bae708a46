"""Write the made-up corpus: ``python -m ruri_kedro.corpora.sample [--out DIR] [--seed N]``."""

import argparse
from pathlib import Path

from ruri_kedro.corpora.sample.corpus import SEED, generate
from ruri_kedro.tables.raw import write_rows


def main() -> None:
    """Parse the arguments and write one file per table, naming each with its number of rows."""
    parser = argparse.ArgumentParser(prog="python -m ruri_kedro.corpora.sample", description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("data/01_raw/sample"), help="folder to write to")
    parser.add_argument("--seed", type=int, default=SEED, help="the world's seed")
    arguments = parser.parse_args()
    for name, rows in generate(arguments.seed).items():
        path = write_rows(arguments.out / f"{name}.jsonl.gz", rows)
        print(f"{path}\t{len(rows)} rows\t{path.stat().st_size} bytes")


if __name__ == "__main__":
    main()
