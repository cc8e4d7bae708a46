"""A data set for the Hugging Face hub: the examples of some stages with their texts, and a card."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import yaml
from tqdm import tqdm

from ruri_kedro.corpora.source import Source
from ruri_kedro.errors import DataError, PublicationError
from ruri_kedro.registry.publishing.publication import CARD, check_dataset, fresh_folder
from ruri_kedro.registry.publishing.terms import Terms
from ruri_kedro.tables import Table
from ruri_kedro.tables.files import read_json
from ruri_kedro.tables.lookup import passage_texts
from ruri_kedro.text.layout import markdown_table

SCHEMA = pa.schema(
    [
        ("example_id", pa.string()),
        ("source", pa.string()),
        ("licence", pa.string()),
        ("origin", pa.string()),  # of the source's rows: given or synthetic
        ("objective", pa.string()),
        ("anchor", pa.string()),
        ("positive", pa.string()),
        ("negatives", pa.list_(pa.string())),
        ("shuffled", pa.bool_()),  # the positive was read with its sentences in another order
        ("label", pa.float32()),  # null where the source has none
    ]
)
_COLUMNS = (
    ("example_id", "the row, the same wherever this data set is made of the same sources"),
    ("source, licence, origin", "where its texts are from, and whether they were given or are synthetic"),
    ("objective", "what the row is trained with in its stage"),
    ("anchor", "a query, question, title or sentence"),
    ("positive, negatives", "a text that belongs to it, and hard negatives that do not"),
    ("label", "how alike anchor and positive are, higher is more; null where the source has no labels"),
    ("shuffled", "the positive was read with its sentences in another order; here it is as it was"),
)
_SHARD_ROWS = 200_000
_SPLITS = ("train", "validation")
_SIZES = ((1_000, "n<1K"), (10_000, "1K<n<10K"), (100_000, "10K<n<100K"), (1_000_000, "100K<n<1M"),
          (10_000_000, "1M<n<10M"), (100_000_000, "10M<n<100M"))  # fmt: skip


@dataclass(frozen=True)
class DataFacts:
    """What the card of a data set says."""

    name: str
    licence: str
    sources: Mapping[str, Mapping[str, Any]]  # licence, origin, from
    rows: Mapping[str, Mapping[str, Mapping[str, int]]]  # by stage, split and source
    synthetic: Mapping[str, str]  # by source how its rows were written
    made: Mapping[str, str]  # tags: commit, data versions


def publish_dataset(
    name: str,
    stages: Mapping[str, Table],
    passages: Table,
    sources: Mapping[str, Source],
    raw: Path,
    out: Path,
    terms: Terms,
    synthesis: Mapping[str, Any],
    made: Mapping[str, str],
) -> dict[str, dict[str, dict[str, int]]]:
    """Write the examples of each stage, with their texts, into the folder `out`; gives rows by stage, split and source.

    A stage that has rows is a configuration of the data set (the hub's readers refuse all if one is empty), its Parquet
    files are cut by split and source. The texts of one source and of the collection that its negatives are from are in
    memory at a time. Raises PublicationError, before anything is written, where a source's licence does not allow it or
    nobody says how its synthetic rows were made, and where no stage has rows.
    """
    # What may go out, before anything is written.
    used = dict.fromkeys(part for table in stages.values() for part in table.parts())
    used |= dict.fromkeys(sources[part].candidates for part in list(used))
    described = {
        part: {
            "licence": sources[part].licence,
            "origin": sources[part].origin,
            "from": sorted(sources[part].data_sets),
        }
        for part in used
    }
    check_dataset(described, terms)
    told = {part: _how(sources[part], raw, terms, synthesis) for part in used if sources[part].origin == "synthetic"}
    # The rows, then the card that counts them.
    with fresh_folder(out) as folder:
        written = {
            stage: _write_stage(table, passages, sources, folder / "data" / stage) for stage, table in stages.items()
        }
        rows = {stage: splits for stage, splits in written.items() if splits}
        if not rows:
            raise PublicationError(f"no example to publish: {', '.join(stages)} have no rows.")
        facts = DataFacts(name, terms.licence.dataset, described, rows, told, made)
        (folder / CARD).write_text(data_card(facts), encoding="utf-8")
    return rows


def data_card(facts: DataFacts) -> str:
    """The card of a data set, in the form that the hub reads: YAML in front, Markdown after it."""
    front = yaml.safe_dump(_front_matter(facts), allow_unicode=True, sort_keys=False, width=120)
    sections = [
        f"# {facts.name}",
        "Texts to train a Japanese embedding model and its reranker on, by the recipe of "
        "[Ruri](https://arxiv.org/abs/2409.07737): an anchor, a positive and hard negatives in each row.",
        "## Rows\n\n" + _counts(facts),
        "## Sources\n\n" + _sources(facts),
        *(["## Synthetic rows\n\n" + "\n".join(f"- {name}: {how}" for name, how in facts.synthetic.items())]
          if facts.synthetic else []),
        "## Columns\n\n" + markdown_table(("column", "holds"), _COLUMNS),
        *(["## How it was made\n\n" + "\n".join(f"- {key}: `{value}`" for key, value in facts.made.items())]
          if facts.made else []),
    ]  # fmt: skip
    return f"---\n{front}---\n\n" + "\n\n".join(sections) + "\n"


def _how(source: Source, raw: Path, terms: Terms, synthesis: Mapping[str, Any]) -> str:
    """How a source's synthetic rows were written: by the terms, else by the report of the pipeline `synthesis`."""
    if source.name in terms.synthetic:
        return terms.synthetic[source.name]
    path = source.folder(raw) / Path(next(iter(source.paths), "")).parent / "report.json"
    if not path.is_file():
        raise PublicationError(
            f"source '{source.name}' has synthetic rows, and {path} is not there to say how they were made. Say it in "
            f"publication.synthetic.{source.name}."
        )
    report = read_json(path)
    rejects = ", ".join(f"{reason} {count:,}" for reason, count in report["rejects"].items()) or "none"
    counts = f"{report['rows']:,} rows for {report['excerpts']:,} excerpts (left out: {rejects})"
    told = f"written by `{report['model']}`: {counts}."
    if options := synthesis.get("model", {}).get("options"):
        told += " Options: " + ", ".join(f"{key} {value}" for key, value in options.items()) + "."
    prompt = synthesis.get("sets", {}).get(path.parent.name, {}).get("prompt")
    if prompt:
        quoted = "\n\n".join(str(text).strip() for text in prompt.values())
        told += " Asked with:\n\n" + "\n".join(f"  > {line}".rstrip() for line in quoted.split("\n")) + "\n"
    return told


def _write_stage(
    table: Table, passages: Table, sources: Mapping[str, Source], folder: Path
) -> dict[str, dict[str, int]]:
    """Write a stage; its rows by split and source."""
    counts: dict[str, dict[str, int]] = {split: {} for split in _SPLITS}
    for part in tqdm(table.parts(), desc=folder.name, unit="source", disable=None):
        parts = [name for name in dict.fromkeys([part, sources[part].candidates]) if name in passages.parts()]
        texts = passage_texts(passages, parts=parts)
        for split in _SPLITS:
            rows = _rows(table, sources[part], split, texts)
            if count := _write_shards(folder / split, part, rows):
                counts[split][part] = count
    return {split: found for split, found in counts.items() if found}


def _rows(table: Table, source: Source, split: str, texts: Mapping[str, str]) -> Iterator[pa.RecordBatch]:
    for batch in table.batches([source.name]):
        rows = batch.filter(pc.equal(batch.column("split"), split)).to_pylist()
        try:
            resolved = [
                {
                    **{name: row[name] for name in ("example_id", "source", "objective", "shuffled")},
                    "licence": source.licence,
                    "origin": source.origin,
                    "anchor": texts[row["anchor"]],
                    "positive": texts[row["positive"]],
                    "negatives": [texts[docid] for docid in row["negatives"]],
                    "label": row["label"],
                }
                for row in rows
            ]
        except KeyError as error:
            raise DataError(
                f"{table.root}, part '{source.name}': the passages have no docid {error}. Make the tables again: "
                "kedro run --pipelines data_engineering,negative_mining"
            ) from error
        yield pa.RecordBatch.from_pylist(resolved, schema=SCHEMA)


def _write_shards(folder: Path, part: str, batches: Iterator[pa.RecordBatch]) -> int:
    """Write the batches as <part>-00000.parquet and on, without empty files; gives the number of rows."""
    written, writer, in_shard, shards = 0, None, 0, 0
    try:
        for batch in batches:
            if not batch.num_rows:
                continue
            if writer is None or in_shard >= _SHARD_ROWS:
                if writer:
                    writer.close()
                folder.mkdir(parents=True, exist_ok=True)
                writer = pq.ParquetWriter(folder / f"{part}-{shards:05d}.parquet", SCHEMA, compression="zstd")
                in_shard, shards = 0, shards + 1
            writer.write_batch(batch)
            in_shard, written = in_shard + batch.num_rows, written + batch.num_rows
    finally:
        if writer:
            writer.close()
    return written


def _front_matter(facts: DataFacts) -> dict[str, Any]:
    total = sum(count for splits in facts.rows.values() for found in splits.values() for count in found.values())
    configs = [
        {
            "config_name": stage,
            "data_files": [{"split": split, "path": f"data/{stage}/{split}/*.parquet"} for split in splits],
        }
        for stage, splits in facts.rows.items()
    ]
    return {
        "language": ["ja"],
        "license": facts.licence,
        "pretty_name": facts.name,
        "task_categories": ["sentence-similarity", "text-ranking"],
        "tags": ["sentence-transformers"],
        "size_categories": [next((name for bound, name in _SIZES if total < bound), "n>100M")],
        "configs": configs,
    }


def _counts(facts: DataFacts) -> str:
    rows = [
        (stage, split, f"{sum(found.values()):,}", ", ".join(f"{name} {count:,}" for name, count in found.items()))
        for stage, splits in facts.rows.items()
        for split, found in splits.items()
    ]
    return markdown_table(("configuration", "split", "rows", "by source"), rows)


def _sources(facts: DataFacts) -> str:
    rows = [(name, row["licence"], row["origin"], ", ".join(row["from"])) for name, row in facts.sources.items()]
    table = markdown_table(("source", "licence", "origin", "from"), rows)
    return f"{table}\n\nThe data set as a whole is under {facts.licence}; each row names the licence of its source."
