"""`kedro ruri evaluate` on a model folder and data of the local cache, without the hub."""

import json
import shutil
from pathlib import Path

import pytest
from click.testing import CliRunner
from kedro_project import REPOSITORY, make_project
from tiny import TEXTS, save_tiny_late, tiny_encoder

from ruri_kedro.cli.commands import cli


@pytest.fixture
def project(tmp_path, monkeypatch) -> Path:
    from kedro.framework.startup import bootstrap_project

    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    make_project(tmp_path)
    shutil.copy(REPOSITORY / "conf/base/parameters_benchmarks.yml", tmp_path / "conf/base")
    tiny_encoder().save_pretrained(str(tmp_path / "model"))
    monkeypatch.chdir(tmp_path)
    bootstrap_project(tmp_path)
    return tmp_path


@pytest.fixture
def jsts(tmp_path, monkeypatch):
    """Rows of JSTS's form, where the library looks for the data set when it is offline."""
    import datasets
    import huggingface_hub
    from datasets.arrow_writer import ArrowWriter

    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    rows = [{"sentence1": a, "sentence2": b, "score": float((i * 7) % 5)}
            for i, (a, b) in enumerate(zip(TEXTS, TEXTS[5:] + TEXTS[:5], strict=True))]  # fmt: skip
    folder = tmp_path / "cache/mteb___jsts/default/0.0.0/5bac629e25799df4c9c80a6a5db983d6cba9e77d"
    folder.mkdir(parents=True)
    features = datasets.Dataset.from_list(rows).features
    with ArrowWriter(path=str(folder / "jsts-validation.arrow"), features=features) as writer:
        for row in rows:
            writer.write(row)
        count, size = writer.finalize()
    split = {"name": "validation", "num_bytes": size, "num_examples": count, "dataset_name": "jsts"}
    datasets.DatasetInfo(
        features=features, builder_name="parquet", dataset_name="jsts", config_name="default", version="0.0.0",
        splits={"validation": split},
    ).write_to_directory(folder)  # fmt: skip
    return rows


def evaluate(*options):
    return CliRunner().invoke(cli, ["ruri", "evaluate", "--model", "model", "--out", "out", *options])


def test_a_folder_is_evaluated_once(project, jsts):
    from scipy.stats import spearmanr
    from sentence_transformers import SentenceTransformer

    done = evaluate("--task", "JSTS")
    assert done.exit_code == 0, done.output
    assert "0 of 1 tasks are done already" in done.output
    [path] = (project / "out/results/local__model").glob("*/JSTS.json")
    scores = json.loads(path.read_text("utf-8"))["scores"]["validation"][0]
    model = SentenceTransformer("model", device="cpu")
    left, right = (
        model.encode([row[side] for row in jsts], prompt="クエリ: ", normalize_embeddings=True)
        for side in ("sentence1", "sentence2")
    )
    expected = spearmanr((left * right).sum(1), [row["score"] for row in jsts]).statistic
    assert scores["main_score"] == pytest.approx(expected, abs=1e-3)
    assert f"| JSTS | STS | cosine_spearman | {100 * scores['main_score']:.2f} |" in done.output
    assert (project / "out/MTEB-jpn-v1.md").read_text("utf-8") in done.output

    again = evaluate("--task", "JSTS")
    assert "1 of 1 tasks are done already" in again.output


def test_the_prompts_are_those_the_model_was_saved_with(project, jsts):
    """Those of Ruri v3 leave sentences as they are; in 0.1 they got the prompt of Ruri's queries."""
    (project / "conf/local").mkdir(exist_ok=True)
    shutil.copy(REPOSITORY / "conf/ruri-v3/parameters_benchmarks.yml", project / "conf/local/parameters_mteb.yml")
    path = project / "model/config_sentence_transformers.json"
    saved = json.loads(path.read_text("utf-8")) | {"prompts": {"query": "検索クエリ: ", "document": "検索文書: "}}
    path.write_text(json.dumps(saved), "utf-8")
    done = evaluate("--task", "JSTS")
    assert done.exit_code == 0, done.output
    assert "1 of 1 tasks are done already" in evaluate("--task", "JSTS", "--prompts", "ruri-v3").output
    assert "made with other prompts" in evaluate("--task", "JSTS", "--prompts", "ruri").output

    path.write_text(json.dumps(saved | {"prompts": {"query": "", "document": ""}}), "utf-8")
    done = evaluate("--task", "JSTS")
    assert done.exit_code == 1
    assert "'local/model' was saved without prompts. Name those it was trained with (--prompts" in done.output
    assert "one of mteb.prompts: none, ruri, e5, ru-en-rosberta, ruri-v3." in done.output


def test_a_model_without_vectors_of_texts_is_sent_to_the_recipes_tasks(project, jsts):
    shutil.rmtree(project / "model")
    save_tiny_late(project / "model")
    done = evaluate("--task", "JSTS")
    assert done.exit_code == 1 and "not for local/model, which has no vectors of texts: JSTS" in done.output
    assert not (project / "out/results").exists()


def test_missing_data_end_the_command_before_the_model_is_loaded(project, jsts, monkeypatch):
    monkeypatch.setattr("ruri_kedro.models.base.load_encoder", lambda *_, **__: pytest.fail("the model was loaded"))
    done = evaluate()
    assert done.exit_code == 1
    assert "the data of 15 of 16 tasks are not in" in done.output
    assert "Can run: JSTS" in done.output
    assert not (project / "out/results").exists()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--model", "nowhere"), "model 'nowhere': no folder of this name. Give a folder, models:/"),
        (("--benchmark", "JMTEB"), "not found"),
        (("--prompts", "other"), "prompts 'other' are not in mteb.prompts. There are: none, ruri, e5, ru-en-rosberta"),
    ],
)
def test_wrong_names_are_one_line(project, options, message):
    done = evaluate(*options)
    assert done.exit_code == 1
    assert message in done.output
