"""The real pipelines on a cut of the shipped corpus, through the command line, as a user runs them."""

import hashlib
import json
import re
import shutil
import sqlite3
import subprocess
import sys
import time
from html import escape
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import yaml
from cut_project import kedro, make_cut_project, own_environment, run_kedro, write
from kedro_project import REPOSITORY
from safetensors.numpy import load_file

from ruri_kedro.benchmark.runs import read_run
from ruri_kedro.tables import SCHEMAS, Table

NOTEBOOKS = sorted((REPOSITORY / "notebooks").glob("*.ipynb"))

# The cells of notebooks, one after the other as in Jupyter; the first that fails ends it.
RUN_NOTEBOOKS = """
import json, sys
from IPython.core.interactiveshell import InteractiveShell
shell = InteractiveShell.instance()
for path in sys.argv[1:]:
    shell.reset()
    shell.extension_manager.loaded.clear()
    for cell in json.load(open(path, encoding="utf-8"))["cells"]:
        if cell["cell_type"] == "code":
            shell.run_cell(cell["source"]).raise_error()
"""

MODELS = ("base_model", "adapted_model", "pretrained_model", "reranker_stage1", "reranker", "embedder")


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    return make_cut_project(tmp_path_factory.mktemp("project"))


@pytest.fixture(scope="module")
def output(project):
    """Terminal output of one whole run."""
    return run_kedro(project, "run", "--env", "cut")


def tables(project: Path) -> dict[str, str]:
    """Digest of every table of the project, by its path."""
    manifests = sorted(project.glob("data/0[2-5]*/**/manifest.json"))
    found = {}
    for path in manifests:
        manifest = json.loads(path.read_text("utf-8"))
        if "shards" in manifest:
            files = [(path.parent / shard).read_bytes() for shard in manifest["shards"]]
            found[str(path.parent.relative_to(project))] = (manifest["digest"], [hash(data) for data in files])
    return found


def newest(project: Path, name: str) -> Path:
    """Folder of the newest version of a model."""
    return sorted((project / "data/06_models/cut/versions" / name).iterdir())[-1] / name


def weights(project: Path, name: str) -> dict[str, np.ndarray]:
    return load_file(newest(project, name) / "model.safetensors")


def dvc_outputs(project: Path) -> dict[str, str]:
    """Digest of every file that dvc.yaml would have as an output, by its path in the recipe `cut`."""
    stages = yaml.safe_load((REPOSITORY / "dvc.yaml").read_text("utf-8"))["stages"].values()
    outs = [out for stage in stages for key in ("outs", "metrics", "plots") for out in stage.get(key, [])]
    names = [out if isinstance(out, str) else next(iter(out)) for out in outs]
    found = {}
    for name in (name.replace("/sample/", "/cut/").replace("/dvc/", "/versions/") for name in names):
        path = project / name
        path = max(path.glob(f"*/{path.name}"), default=path)  # the newest version, of what has versions here
        for file in [path] if path.is_file() else (file for file in path.rglob("*") if file.is_file()):
            found[f"{name}/{file.relative_to(path)}"] = hashlib.sha256(file.read_bytes()).hexdigest()
    return found


def assert_same_results(first: Path, second: Path) -> None:
    assert tables(first) == tables(second) != {}
    for name in MODELS:
        one, two = weights(first, name), weights(second, name)
        assert one.keys() == two.keys()
        assert all(np.array_equal(one[key], two[key]) for key in one), name


def test_a_whole_run_ends_with_results_and_what_to_do_next(output):
    for text in ("questions/ndcg@10", "finetuned", "ruri-cut", "ruri-reranker-cut", "mlflow ui", "kedro viz"):
        assert text in output


def test_every_table_is_there_and_fits_its_schema(project, output):
    data = project / "data"
    examples = data / "05_model_input/cut/versions"
    expected = {
        data / "03_primary/cut/passages": "passages",
        data / "03_primary/cut/pairs": "pairs",
        data / "02_intermediate/cut/duplicates": "duplicates",
        data / "03_primary/cut/matches": "matches",
        data / "03_primary/cut/leaks": "leaks",
        data / "04_feature/cut/versions/supervised/candidates": "candidates",
        data / "04_feature/cut/versions/supervised/mined_pairs": "pairs",
        examples / "pretraining_examples": "examples",
        examples / "reranking_stage1_examples": "examples",
        examples / "finetuning_examples": "examples",
        examples / "teacher_scores": "teacher_scores",
    }
    for root, schema in expected.items():
        table = Table(root, SCHEMAS[schema])
        assert table.parts(), root
        assert table.read().schema.equals(SCHEMAS[schema])


def test_negatives_are_never_positives_and_text_stands_in_passages_only(project, output):
    data = project / "data"
    known = {row["docid"] for row in Table(data / "03_primary/cut/passages", SCHEMAS["passages"]).iter_rows()}
    pairs = [
        *Table(data / "03_primary/cut/pairs", SCHEMAS["pairs"]).iter_rows(),
        *Table(data / "04_feature/cut/versions/supervised/mined_pairs", SCHEMAS["pairs"]).iter_rows(),
    ]
    positives = {(row["query_id"], row["positive"]) for row in pairs}
    for stage in ("pretraining", "reranking_stage1", "reranking_stage2", "finetuning"):
        table = Table(data / f"05_model_input/cut/versions/{stage}_examples", SCHEMAS["examples"])
        for row in table.iter_rows():
            assert {row["anchor"], row["positive"], *row["negatives"]} <= known
            if row["source"] in ("questions", "news_title"):
                assert not {(row["query_id"], docid) for docid in row["negatives"]} & positives


def test_the_models_are_plain_and_reproduce_the_scores(project, output):
    from sentence_transformers import CrossEncoder, SentenceTransformer

    from ruri_kedro.benchmark.scoring.evaluate import evaluate_embedder, summarize
    from ruri_kedro.benchmark.tasks.load import load_task

    model = SentenceTransformer(str(newest(project, "embedder")), device="cpu")
    assert model.prompts["query"] == "クエリ: " and model.prompts["document"] == "文章: "
    assert model.similarity_fn_name == "cosine"
    assert np.linalg.norm(model.encode(["東京の駅", "山"]), axis=1) == pytest.approx(1, abs=1e-6)
    spec = {"type": "retrieval", "shape": "qa", "path": "questions/test.jsonl.gz",
            "corpus": {"path": "articles.jsonl.gz", "shape": "articles"}}  # fmt: skip
    task = load_task("questions", spec, project / "data/01_raw/cut")
    rows = evaluate_embedder(
        "finetuned", task, lambda texts, role: model.encode(texts, prompt_name=role, normalize_embeddings=True)
    )
    metrics = json.loads(
        sorted((project / "data/08_reporting/cut/versions/metrics.json").rglob("*.json"))[-1].read_text()
    )
    expected = metrics["finetuned"]["questions/ndcg@10"]
    assert summarize(rows)["questions/ndcg@10"][0] == pytest.approx(expected, abs=1e-4)
    assert CrossEncoder(str(newest(project, "reranker")), device="cpu").predict([("問い", "答え")]).shape == (1,)


def test_one_run_is_one_mlflow_run_with_curves_tags_and_challengers(project, output):
    with sqlite3.connect(project / "mlflow.db") as store:
        runs = store.execute("select run_uuid, status from runs").fetchall()
        assert [status for _, status in runs] == ["FINISHED"]
        tags = dict(store.execute("select key, value from tags where run_uuid=?", runs[0][:1]))
        assert tags["recipe"] == "cut" and tags["reproduce"] == "kedro run --env cut"
        steps = "select count(*) from metrics where key=?"
        for stage in ("pretraining", "reranking_stage1", "reranking_stage2", "finetuning"):
            assert store.execute(steps, [f"{stage}/loss"]).fetchone()[0] > 1
        aliases = set(store.execute("select name, alias from registered_model_aliases"))
    assert aliases == {("ruri-cut", "challenger"), ("ruri-reranker-cut", "challenger")}


@pytest.mark.slow
def test_card_and_lineage_tell_of_the_training_not_of_the_evaluation(project, output, tmp_path):
    own = tmp_path / "project"
    shutil.copytree(project, own)
    pipeline = ("run", "--env", "cut", "--pipelines")
    run_kedro(own, *pipeline, "finetuning", "--params", "finetuning.epochs=3")
    run_kedro(own, *pipeline, "evaluation")  # whose own parameters say one epoch
    card = (own / "data/08_reporting/cut/versions/embedder_card.md").read_text("utf-8")
    (epochs,) = (line for line in card.splitlines() if line.startswith("| epochs |"))
    assert epochs == "| epochs | 1 | 3 | 1 | 3 |" and "| query | `クエリ: ` |" in card
    command = "kedro run --env cut --pipelines finetuning --params finetuning.epochs=3"
    for line in (
        "- Trained (pretraining, reranking_stage1, reranking_stage2): `kedro run --env cut`, ",
        f"- Trained (finetuning): `{command}`, ",
        "- Evaluated: `kedro run --env cut --pipelines evaluation`, ",
    ):
        assert line in card
    said = " ".join(run_kedro(own, "ruri", "lineage", "--env", "cut", "ruri-cut/2").split())
    assert f"made by {command} commit" in said and "base model built here, ModernBERT with 2 layers of width 32" in said


def test_per_query_scores_are_kept(project, output):
    table = Table(project / "data/07_model_output/cut/versions/scores/finetuned", SCHEMAS["scores"])
    frame = pl.from_arrow(table.read(["questions"]))
    assert frame.filter(pl.col("metric") == "ndcg@10")["query_id"].n_unique() == 30


@pytest.mark.parametrize("task", ["questions", "questions_rerank"])
def test_exported_runs_score_as_the_report_says(project, output, task, tmp_path):
    runs, out = project / "data/07_model_output/cut/versions/runs" / task, tmp_path / "scores.json"
    run_kedro(
        project, "ruri", "score-runs", "--runs", str(runs), "--qrels", str(runs / "qrels.trec.gz"), "--out", str(out)
    )
    newest_metrics = sorted((project / "data/08_reporting/cut/versions/metrics.json").rglob("*.json"))[-1]
    metrics = json.loads(newest_metrics.read_text("utf-8"))
    expected = {
        model: {metric: pytest.approx(found[f"{task}/{metric}"]) for metric in ("ndcg@10", "mrr@10")}
        for model, found in metrics.items()
        if f"{task}/ndcg@10" in found
    }
    assert json.loads(out.read_text("utf-8")) == expected
    assert "finetuned" in expected and ("reranker" in expected) == (task == "questions_rerank")


def test_models_of_a_run_are_compared_with_the_texts_of_their_queries(project, output):
    said = run_kedro(project, "ruri", "compare", "--env", "cut", "--baseline", "random")
    assert "finetuned   questions/ndcg@10" in said and "questions_rerank/ndcg@10" in said
    page = (project / "data/08_reporting/cut/comparison.html").read_text("utf-8")
    text = Table(project / "data/02_intermediate/cut/test_texts", SCHEMAS["test_texts"])
    queries = [row["text"] for row in text.iter_rows(["questions"]) if row["role"] == "query"]
    assert any(query in page for query in queries)
    corpus = {row["text"] for row in text.iter_rows(["questions"]) if row["role"] == "passage"}
    run = read_run(project / "data/07_model_output/cut/versions/runs/questions/finetuned.trec.gz")
    assert len(run) == 30 and all(len(found) == 100 for found in run.values())
    assert sum(escape(passage) in page for passage in corpus) > 10, "positives and documents put first"


@pytest.mark.long
def test_the_same_seed_gives_the_same_tables_and_weights(project, output, tmp_path):
    again = make_cut_project(tmp_path)
    run_kedro(again, "run", "--env", "cut")
    assert_same_results(project, again)
    first, second = dvc_outputs(project), dvc_outputs(again)
    assert len(first) > 100 and first.keys() == second.keys()
    # Else dvc.lock would change with the folder, the day and the run that an output was made in.
    assert not [file for file, digest in first.items() if second[file] != digest]


@pytest.mark.slow
@pytest.mark.parametrize("seconds", [12, 18, 24, 30, 36, 42])
def test_a_killed_run_is_continued_to_the_same_results(project, output, tmp_path, seconds):
    killed = make_cut_project(tmp_path)
    process = kedro(killed, "run", "--env", "cut")
    time.sleep(seconds)
    process.kill()
    process.communicate()
    run_kedro(killed, "run", "--env", "cut")
    assert_same_results(project, killed)


@pytest.mark.slow
def test_a_training_that_was_killed_continues_from_its_checkpoint(project, output, tmp_path):
    """kill -9 in the middle of pre-training, on data that stand already."""
    killed = tmp_path / "project"
    shutil.copytree(project, killed)
    shutil.rmtree(killed / "data/06_models/cut/versions/pretrained_model")
    checkpoints = killed / "data/06_models/cut/versions/.checkpoints/pretraining"
    shutil.rmtree(checkpoints, ignore_errors=True)
    process = kedro(killed, "run", "--env", "cut", "--pipelines", "pretraining")
    deadline = time.monotonic() + 120
    while not list(checkpoints.glob("step-*/state.json")) and time.monotonic() < deadline:
        time.sleep(0.02)
    process.kill()
    process.communicate()
    assert not (killed / "data/06_models/cut/versions/pretrained_model").exists()
    assert "pretraining continues after step" in run_kedro(killed, "run", "--env", "cut", "--pipelines", "pretraining")
    first, second = weights(project, "pretrained_model"), weights(killed, "pretrained_model")
    assert all(np.array_equal(first[key], second[key]) for key in first)


@pytest.mark.long
def test_a_dry_run_without_data_names_what_makes_them(tmp_path):
    fresh = make_cut_project(tmp_path)
    said = run_kedro(fresh, "run", "--env", "cut", "--params", "dry_run=true")
    for text in ("pretraining_examples: made by the pipeline 'mining_pretraining'", "nothing was trained or stored"):
        assert text in re.sub(r"\s+", " ", said)
    assert "kedro run --env cut --pipelines data_engineering" in re.sub(r"\s+", " ", said)
    assert not (fresh / "data/03_primary").exists()


@pytest.mark.slow
def test_the_notebooks_run_on_what_a_run_has_left(project, output):
    done = subprocess.run(
        [sys.executable, "-c", RUN_NOTEBOOKS, *map(str, NOTEBOOKS)],
        cwd=project,
        env=own_environment() | {"KEDRO_ENV": "cut", "MPLBACKEND": "agg"},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert {path.stem for path in NOTEBOOKS} == {"compare", "corpus", "search"}
    for text in (
        "finetuned against bm25: questions, ndcg@10",
        "negative ",
        "ruri-cut, challenger, version 1",
        "right passage",
    ):
        assert text in done.stdout


def test_a_missing_input_names_the_data_set_its_pipeline_and_the_command(tmp_path):
    fresh = make_cut_project(tmp_path)
    process = kedro(fresh, "run", "--env", "cut", "--pipelines", "finetuning")
    said, _ = process.communicate(timeout=120)
    assert process.returncode != 0
    for text in ("reranker", "made by the pipeline 'reranking'", "kedro run --env cut --pipelines reranking"):
        assert text in said
    assert "Traceback" not in said


def test_broken_raw_data_are_one_error(tmp_path):
    broken = make_cut_project(tmp_path)
    write(broken / "data/01_raw/cut/edits/train.jsonl.gz", [{"text1": "甲", "text2": "乙"}, {"text1": "丙"}])
    said, _ = kedro(broken, "run", "--env", "cut", "--pipelines", "data_engineering").communicate(timeout=120)
    assert "edits/train.jsonl.gz, row 2, field 'text2': missing" in said and "Traceback" not in said


@pytest.mark.parametrize(
    ("arguments", "absent"),
    [
        (["--help"], {"torch", "transformers", "sentence_transformers", "ruri_kedro.training.fit"}),
        (["registry", "list"], {"torch", "transformers", "sentence_transformers", "ruri_kedro.training.fit"}),
        (
            ["run", "--env", "cut", "--pipelines", "data_engineering", "--nodes", "duplicates,pairs"],
            {"torch", "transformers", "sentence_transformers"},
        ),
    ],
)
def test_start_up_imports_nothing_heavy(tmp_path, arguments, absent):
    project = make_cut_project(tmp_path)
    code = (
        "import sys\nfrom kedro.framework.cli.cli import main\n"
        f"sys.argv = ['kedro', *{arguments!r}]\n"
        "try:\n    main()\nexcept SystemExit as end:\n    assert not end.code, end.code\n"
        "print('LOADED', sorted(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=project, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr
    loaded = set(done.stdout.rpartition("LOADED")[2].replace("'", "").strip(" []\n").split(", "))
    assert not loaded & absent
