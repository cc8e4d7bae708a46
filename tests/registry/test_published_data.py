"""A data set for the hub: read by the hub's own library, with the texts that the tables stand for."""

import json

import pytest
from huggingface_hub import DatasetCard
from released import example, table, terms

from ruri_kedro.corpora.source import parse_sources
from ruri_kedro.errors import DataError, PublicationError
from ruri_kedro.registry.publishing.published_data import publish_dataset
from ruri_kedro.tables import SCHEMAS, Part, write_table

ROWS = {
    "qa": {"kind": "question_to_passage", "path": "q.jsonl", "collection": "wiki", "licence": "Apache-2.0"},
    "wiki": {"kind": "collection", "path": "w.jsonl", "licence": "MIT"},
}


@pytest.fixture
def passages(tmp_path):
    def rows(source, docids):
        return [{"docid": d, "source": source, "title": "", "section": "", "text": f"{d}のこと"} for d in docids]

    parts = {"qa": rows("qa", "ab"), "wiki": rows("wiki", "cd")}
    made = {name: Part(name, lambda found=found: [found]) for name, found in parts.items()}
    return write_table(tmp_path / "passages", SCHEMAS["passages"], made)


@pytest.fixture
def stages(tmp_path):
    return {
        "pretraining": table(tmp_path / "1", "examples", [example(1, "b", "cd"), example(2, "b", "c", "validation")]),
        "finetuning": table(tmp_path / "2", "examples", [example(3, "b", "")]),
    }


def publish(tmp_path, stages, passages, sources=ROWS, synthesis=None, **given):
    return publish_dataset(
        "ruri-tiny-dataset", stages, passages, parse_sources(sources), tmp_path / "raw", tmp_path / "out",
        terms(**given), synthesis or {}, {"git_commit": "c0ffee"},
    )  # fmt: skip


def test_the_hubs_library_reads_every_configuration(tmp_path, stages, passages):
    from datasets import load_dataset

    counts = publish(tmp_path, stages, passages)
    assert counts == {"pretraining": {"train": {"qa": 1}, "validation": {"qa": 1}}, "finetuning": {"train": {"qa": 1}}}
    found = load_dataset(str(tmp_path / "out"), "pretraining", cache_dir=str(tmp_path / "cache"))
    assert found["train"].to_list() == [
        {"example_id": "e1", "source": "qa", "licence": "Apache-2.0", "origin": "given", "objective": "contrastive",
         "anchor": "aのこと", "positive": "bのこと", "negatives": ["cのこと", "dのこと"], "shuffled": False,
         "label": None}
    ]  # fmt: skip
    assert found["validation"]["negatives"][:] == [["cのこと"]]
    card = DatasetCard.load(tmp_path / "out/README.md")
    assert card.data.license == "apache-2.0" and card.data.size_categories == ["n<1K"]
    assert "| pretraining | train | 1 | qa 1 |" in card.text and "| wiki | MIT | given | w.jsonl |" in card.text
    assert "`c0ffee`" in card.text
    assert "data/finetuning/train/qa-00000.parquet" in json.loads((tmp_path / "out/manifest.json").read_text())["files"]


def test_a_stage_without_rows_is_left_out(tmp_path, stages, passages):
    from datasets import load_dataset

    empty = write_table(tmp_path / "0", SCHEMAS["examples"], {})
    counts = publish(tmp_path, {"adaptation": empty, **stages}, passages)
    assert list(counts) == ["pretraining", "finetuning"]
    found = load_dataset(str(tmp_path / "out"), "finetuning", split="train", cache_dir=str(tmp_path / "cache"))
    assert found["positive"][:] == ["bのこと"]
    with pytest.raises(PublicationError, match="no example to publish: adaptation"):
        publish(tmp_path, {"adaptation": empty}, passages)
    assert (tmp_path / "out/data/finetuning").is_dir()  # the data set of before is still there


def test_a_collection_that_negatives_are_from_counts_as_a_source(tmp_path, stages, passages):
    sources = ROWS | {"wiki": ROWS["wiki"] | {"licence": "CC BY-SA 4.0"}}
    with pytest.raises(PublicationError, match=r"may not go out under apache-2\.0 from: wiki \(CC BY-SA 4\.0\)"):
        publish(tmp_path, stages, passages, sources)
    assert not (tmp_path / "out").exists()


def test_how_synthetic_rows_were_made_is_said_or_the_data_set_is_refused(tmp_path, stages, passages):
    sources = ROWS | {"qa": ROWS["qa"] | {"origin": "synthetic", "path": "set/rows.jsonl.gz"}}
    with pytest.raises(PublicationError, match=r"source 'qa' has synthetic rows, .* publication\.synthetic\.qa"):
        publish(tmp_path, stages, passages, sources)
    publish(tmp_path, stages, passages, sources, synthetic={"qa": "Written by hand-picked prompts."})
    assert "- qa: Written by hand-picked prompts." in (tmp_path / "out/README.md").read_text("utf-8")
    report = {"model": "writer-7b", "excerpts": 10, "rows": 8, "rejects": {"not_json": 2}}
    (tmp_path / "raw/set").mkdir(parents=True)
    (tmp_path / "raw/set/report.json").write_text(json.dumps(report), "utf-8")
    synthesis = {"model": {"options": {"temperature": 0.7}}, "sets": {"set": {"prompt": {"system": "問いを書く。"}}}}
    publish(tmp_path, stages, passages, sources, synthesis)
    text = (tmp_path / "out/README.md").read_text("utf-8")
    for said in (
        "written by `writer-7b`: 8 rows for 10 excerpts (left out: not_json 2)",
        "temperature 0.7",
        "> 問いを書く。",
    ):
        assert said in text


def test_a_docid_without_a_text_is_an_error_that_names_the_table(tmp_path, passages):
    stages = {"pretraining": table(tmp_path / "1", "examples", [example(1, "z", "")])}
    with pytest.raises(DataError, match=r"part 'qa': the passages have no docid 'z'"):
        publish(tmp_path, stages, passages)
    assert not (tmp_path / "out").exists()
