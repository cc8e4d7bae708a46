"""kedro ruri index export and load."""

import json
import shutil

import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner
from kedro_project import REPOSITORY, make_project
from tiny import TEXTS, save_tiny_late, save_tiny_models, tiny_encoder
from token_vectors import build, make_collection

from ruri_kedro.cli import cli


def run(*arguments, status=0):
    result = CliRunner().invoke(cli, ["ruri", "index", *map(str, arguments)], catch_exceptions=False)
    assert result.exit_code == status, result.output
    return result.output


@pytest.fixture
def texts(tmp_path, monkeypatch):
    from kedro.framework.startup import bootstrap_project

    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    make_project(tmp_path)
    shutil.copy(REPOSITORY / "conf/base/parameters_benchmarks.yml", tmp_path / "conf/base")
    monkeypatch.chdir(tmp_path)
    bootstrap_project(tmp_path)
    rows = [{"id": f"文書/{number}", "title": "題", "text": text} for number, text in enumerate(TEXTS)]
    path = tmp_path / "texts.jsonl"
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), "utf-8")
    return path


def test_an_index_is_exported_and_the_next_step_is_told(tmp_path):
    build(make_collection(5), tmp_path / "index")
    out = tmp_path / "out"
    told = run("export", tmp_path / "index", "--to", "vespa", "--out", out, "--name", "passage")
    assert told.startswith("5 documents in ")
    assert "vespa feed feed.jsonl" in told
    found = {path.relative_to(out).as_posix() for path in out.rglob("*.*")}
    assert found == {"application/services.xml", "application/schemas/passage.sd", "feed.jsonl", "export.json"}


def test_a_folder_without_an_index_is_one_line(tmp_path):
    told = run("export", tmp_path, "--to", "qdrant", "--out", tmp_path / "out", status=1)
    assert "there is no index of token vectors" in told


def test_texts_by_a_model_are_vectors_of_what_it_makes_of_them(texts, tmp_path):
    encoder = tiny_encoder()
    encoder.save_pretrained(str(tmp_path / "model"))
    out = tmp_path / "out"
    made_of = ("--model", tmp_path / "model", "--collection", texts)
    told = run("export", *made_of, "--to", "parquet", "--out", out, "--check")
    assert f"{len(TEXTS)} documents in" in told and "1.000 by the engine's exact search" in told
    table = pq.read_table(out / "documents.parquet")
    assert table["docid"].to_pylist()[:2] == ["文書/0", "文書/1"]
    assert table["text"].to_pylist()[0] == f"題 {TEXTS[0]}"
    expected = encoder.encode(f"題 {TEXTS[0]}", prompt_name="document", normalize_embeddings=True)
    assert table["vector"].to_pylist()[0] == pytest.approx(expected.tolist(), abs=1e-5)
    facts = json.loads((out / "export.json").read_text("utf-8"))
    assert facts["model"]["name"] == "local/model" and facts["documents"] == len(TEXTS)
    told = run("load", out, "--check")
    assert "recall@10" in told


def test_a_late_interaction_model_gives_a_vector_for_each_token(texts, tmp_path):
    pytest.importorskip("qdrant_client")
    model, out = save_tiny_late(tmp_path / "late"), tmp_path / "out"
    told = run("export", "--model", model, "--collection", texts, "--to", "qdrant", "--out", out,
               "--into", tmp_path / "db", "--check")  # fmt: skip
    assert "1.000 by its index" in told
    collection = json.loads((out / "collection.json").read_text("utf-8"))
    assert collection["vectors"]["multivector_config"] == {"comparator": "max_sim"}


def test_what_cannot_be_exported_is_told(texts, tmp_path):
    models = save_tiny_models(tmp_path)
    target = ("--to", "parquet", "--out", tmp_path / "out")
    assert "gives scores to pairs" in run(
        "export", "--model", models / "reranker", "--collection", texts, *target, status=1
    )
    assert "there is no such file" in run(
        "export", "--model", models / "embedder", "--collection", "x", *target, status=1
    )
    assert "Name a FOLDER" in run("export", "--model", models / "embedder", *target, status=2)
    (tmp_path / "bad.jsonl").write_text('{"text": " "}\n')
    bad = ("--collection", tmp_path / "bad.jsonl")
    assert "row 1, field 'text': empty text" in run("export", "--model", models / "embedder", *bad, *target, status=1)
    assert "there is no export.json" in run("load", tmp_path, "--into", "x", status=1)
