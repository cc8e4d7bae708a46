"""All tasks of mteb's benchmarks on stand-in data: prompts, metrics, averages, and going on after a kill."""

import json
import os
import shutil
import signal
import subprocess
import sys
from statistics import fmean

import mteb
import pytest
import yaml
from kedro_project import REPOSITORY
from mteb_stand_ins import Recorder, search_rows, stand_in_data
from scipy.stats import spearmanr

from ruri_kedro.benchmark.comparing.comparison import scores_by_query
from ruri_kedro.benchmark.mteb.model import EncodingSettings, benchmark_encoder
from ruri_kedro.benchmark.mteb.run import evaluate_tasks, missing_tasks, write_report
from ruri_kedro.benchmark.mteb.tasks import benchmark_tasks, fresh
from ruri_kedro.errors import RecipeError
from ruri_kedro.tables import SCHEMAS, Table

PARAMS = yaml.safe_load((REPOSITORY / "conf/base/parameters_benchmarks.yml").read_text("utf-8"))["mteb"]
PROMPTS = {"MTEB(jpn, v1)": "ruri", "MTEB(rus, v1)": "ru-en-rosberta", "JMTEB(v2)": "ruri"}
TABLE_10 = {"Retrieval": 6, "STS": 2, "Classification": 4, "Reranking": 1, "Clustering": 2, "PairClassification": 1}
TASK_COUNTS = {
    "MTEB(jpn, v1)": TABLE_10,
    "MTEB(rus, v1)": {"Classification": 9, "Clustering": 3, "MultilabelClassification": 2, "PairClassification": 1,
                      "Reranking": 2, "Retrieval": 3, "STS": 3},
    "JMTEB(v2)": {"Retrieval": 11, "STS": 2, "Classification": 7, "Reranking": 5, "Clustering": 3},
}  # fmt: skip
MAIN_SCORES = {
    "Classification": "accuracy", "MultilabelClassification": "accuracy", "Clustering": "v_measure",
    "PairClassification": "max_ap", "Retrieval": "ndcg_at_10", "STS": "cosine_spearman", "Reranking": "map_at_1000",
}  # fmt: skip
ABOUT_TOPICS = (
    "HeadlineClassification", "InappropriatenessClassification", "MassiveScenarioClassification", "STS22",
    "RuSciBenchGRNTIClassification", "RuSciBenchOECDClassification", "SensitiveTopicsClassification",
)  # fmt: skip


@pytest.fixture(scope="module", autouse=True)
def stand_ins():
    """Every task has its stand-in data."""
    with stand_in_data(PROMPTS):
        yield


@pytest.fixture(scope="module")
def evaluated(stand_ins, tmp_path_factory):
    """A function that evaluates the recorder on a benchmark, once: (recorder, folder)."""
    done = {}

    def run(benchmark):
        if benchmark not in done:
            recorder, out = Recorder(), tmp_path_factory.mktemp("out")
            evaluate(benchmark, recorder, out)
            done[benchmark] = recorder, out
        return done[benchmark]

    return run


def evaluate(benchmark, encode, out, only=(), prompts=None, name="tests/fake"):
    """Names of the tasks that were evaluated."""
    settings = EncodingSettings.of(PARAMS, prompts or PROMPTS[benchmark])
    encoder = benchmark_encoder(name, "r1", encode, settings, out)
    missing = missing_tasks(benchmark_tasks(benchmark, only), encoder, out)
    evaluate_tasks(missing, encoder, out)
    return [task.metadata.name for task in missing]


def scores_of(out, task):
    return json.loads((out / "results/tests__fake/r1" / f"{task}.json").read_text("utf-8"))["scores"]


def expected_prompt(benchmark, task, side):
    if PROMPTS[benchmark] == "ruri":
        return "文章: " if side == "document" else "クエリ: "
    if side != "text":
        return f"search_{side}: "
    topics = task.metadata.name in ABOUT_TOPICS or task.metadata.type == "Clustering"
    return "clustering: " if topics else "classification: "


@pytest.mark.long
@pytest.mark.parametrize("benchmark", PROMPTS)
def test_every_task_runs_with_the_right_prompt_on_every_text(evaluated, benchmark):
    recorder, _ = evaluated(benchmark)
    tasks = {task.metadata.name: task for task in benchmark_tasks(benchmark)}
    seen = {}
    for prompt, text in recorder.texts:
        name, side, _ = text.split("|", 2)
        assert prompt == expected_prompt(benchmark, tasks[name], side), text
        seen.setdefault(name, set()).add(side)
    for name, task in tasks.items():
        searches = task.metadata.type in ("Retrieval", "Reranking")
        assert seen[name] == ({"query", "document"} if searches else {"text"}), name


@pytest.mark.long
@pytest.mark.parametrize("benchmark", PROMPTS)
def test_no_text_is_encoded_twice(evaluated, benchmark):
    recorder, _ = evaluated(benchmark)
    assert len(recorder.texts) == len(set(recorder.texts))
    assert {max_length for _, _, max_length, _ in recorder.calls} == {512}


@pytest.mark.long
@pytest.mark.parametrize("benchmark", PROMPTS)
def test_main_scores_are_those_of_the_benchmark(evaluated, benchmark):
    _, out = evaluated(benchmark)
    counts = {}
    for task in benchmark_tasks(benchmark):
        kind, name = task.metadata.type, task.metadata.name
        counts[kind] = counts.get(kind, 0) + 1
        metric = "ndcg_at_10" if name in ("MIRACLReranking", "MultiLongDocReranking") else MAIN_SCORES[kind]
        scores = scores_of(out, name)
        assert set(scores) == set(task.eval_splits)
        for rows in scores.values():
            assert [row["hf_subset"] for row in rows] == task.hf_subsets
            assert all(row["main_score"] == row[metric] for row in rows)
    assert counts == TASK_COUNTS[benchmark]


@pytest.mark.long
@pytest.mark.parametrize("benchmark", PROMPTS)
def test_average_is_over_data_sets_as_mteb_scores_them(evaluated, benchmark):
    _, out = evaluated(benchmark)
    write_report(benchmark, PARAMS["official"].get(benchmark, {}), out)
    [path] = out.glob("*.json")
    [model] = json.loads(path.read_text("utf-8"))["models"]
    tasks = benchmark_tasks(benchmark)
    [own] = mteb.ResultCache(out).load_results(tasks=tasks, include_remote=False).model_results
    by_mteb = {result.task_name: result.get_score() for result in own.task_results}
    assert {name: row["score"] for name, row in model["tasks"].items()} == pytest.approx(by_mteb, abs=1e-9)
    assert model["average"]["mteb"] == pytest.approx(fmean(by_mteb.values()))
    for kind, mean in model["categories"]["mteb"].items():
        ours = [by_mteb[task.metadata.name] for task in tasks if task.metadata.type == kind]
        assert len(ours) == TASK_COUNTS[benchmark][kind]
        assert mean == pytest.approx(fmean(ours))


@pytest.mark.long
def test_scores_are_those_of_other_implementations(evaluated):
    import pytrec_eval

    _, out = evaluated("MTEB(jpn, v1)")
    tasks = {task.metadata.name: task for task in benchmark_tasks("MTEB(jpn, v1)")}
    queries, corpus, qrels = search_rows(tasks["MrTidyRetrieval"], "test")
    vectors = Recorder()([row["text"] for row in queries], "", 0, 0)
    documents = Recorder()([f"{row['title']} {row['text']}" for row in corpus], "", 0, 0)
    run = {
        query["id"]: {doc["id"]: float(score) for doc, score in zip(corpus, row, strict=True)}
        for query, row in zip(queries, vectors @ documents.T, strict=True)
    }
    found = pytrec_eval.RelevanceEvaluator(qrels, {"ndcg_cut.10"}).evaluate(run)
    ndcg = fmean(row["ndcg_cut_10"] for row in found.values())
    assert scores_of(out, "MrTidyRetrieval")["test"][0]["main_score"] == pytest.approx(ndcg, abs=1e-5)

    task = fresh(tasks["JSTS"])
    task.load_data()
    rows = task.dataset["validation"]
    cosines = (Recorder()(rows["sentence1"], "", 0, 0) * Recorder()(rows["sentence2"], "", 0, 0)).sum(1)
    assert scores_of(out, "JSTS")["validation"][0]["main_score"] == pytest.approx(
        spearmanr(cosines, rows["score"]).statistic, abs=1e-5
    )


@pytest.mark.long
@pytest.mark.parametrize("benchmark", PROMPTS)
def test_every_search_leaves_its_scores_by_query(evaluated, benchmark):
    _, out = evaluated(benchmark)
    table = Table(out / "scores/tests__fake/r1", SCHEMAS["scores"])
    found = scores_by_query(table.iter_rows())
    searches = [task for task in benchmark_tasks(benchmark) if task.metadata.type in ("Retrieval", "Reranking")]
    assert searches and {measure[0].partition("/")[0] for measure in found} == {t.metadata.name for t in searches}
    for (task, metric), queries in found.items():
        name, *place = task.split("/")  # then language and split, where it has several
        rows = {(row["hf_subset"], split): row for split, rows in scores_of(out, name).items() for row in rows}
        [row] = [row for where, row in rows.items() if set(place) <= set(where)]
        assert fmean(queries.values()) == pytest.approx(row[metric.replace("@", "_at_")], abs=1e-5), (task, metric)


def test_scores_by_query_that_are_gone_are_made_again(tmp_path):
    only = ["JaGovFaqsRetrieval", "NLPJournalTitleAbsRetrieval", "JSTS"]
    evaluate("MTEB(jpn, v1)", Recorder(), tmp_path, only)
    root = tmp_path / "scores/tests__fake/r1"
    kept = Table(root, SCHEMAS["scores"])
    digest = kept.digest()
    shutil.rmtree(root / "JaGovFaqsRetrieval")
    assert evaluate("MTEB(jpn, v1)", Recorder(), tmp_path, only) == ["JaGovFaqsRetrieval"]
    assert kept.parts() == sorted(only[:2]) and kept.digest() == digest


@pytest.mark.long
def test_rumteb_has_a_table_of_its_seven_categories_and_a_line_for_each_of_its_tasks(evaluated):
    """arXiv 2408.12503: in the order of the paper's list."""
    _, out = evaluated("MTEB(rus, v1)")
    text = write_report("MTEB(rus, v1)", {}, out)
    assert "| Model | Class. | Clustering | Multilabel | Pair. | Reranking | Retrieval | STS | Avg. |" in text
    lines = text.partition("## Tasks")[2].splitlines()
    assert len([line for line in lines if line.startswith("| ") and not line.startswith(("| Task ", "| --- "))]) == 23


@pytest.mark.long
def test_official_metrics_stand_beside(evaluated):
    _, out = evaluated("MTEB(jpn, v1)")
    text = write_report("MTEB(jpn, v1)", PARAMS["official"]["MTEB(jpn, v1)"], out)
    assert "| Model | Retrieval | STS | Class. | Reranking | Clustering | Pair. | Avg. |" in text
    rows = json.loads((out / "MTEB-jpn-v1.json").read_text("utf-8"))["models"][0]["tasks"]
    massive = scores_of(out, "MassiveIntentClassification")
    assert rows["MassiveIntentClassification"]["official"] == massive["test"][0]["f1"]
    assert rows["MassiveIntentClassification"]["score"] == pytest.approx(
        fmean(massive[split][0]["accuracy"] for split in ("validation", "test"))
    )
    assert rows["ESCIReranking"]["official"] == scores_of(out, "ESCIReranking")["test"][0]["ndcg_at_10"]
    assert rows["PawsXPairClassification"]["official"] == scores_of(out, "PawsXPairClassification")["test"][0]["max_f1"]
    assert rows["JSTS"]["official"] == rows["JSTS"]["score"]


def test_texts_that_tasks_share_are_encoded_once(tmp_path, monkeypatch):
    first, second = benchmark_tasks("MTEB(jpn, v1)", ["MassiveIntentClassification", "MassiveScenarioClassification"])

    def load_texts_of_first(task, **kwargs):
        other = fresh(first)
        other.load_data()
        task.dataset, task.data_loaded = other.dataset, True

    monkeypatch.setattr(type(second), "load_data", load_texts_of_first)
    recorder = Recorder()
    evaluate("MTEB(jpn, v1)", recorder, tmp_path, [first.metadata.name])
    calls = len(recorder.calls)
    evaluate("MTEB(jpn, v1)", recorder, tmp_path, [second.metadata.name])
    assert len(recorder.calls) == calls > 0
    rows = {task.metadata.name: scores_of(tmp_path, task.metadata.name)["test"][0] for task in (first, second)}
    assert rows[first.metadata.name]["accuracy"] == rows[second.metadata.name]["accuracy"]


@pytest.mark.long
def test_a_second_run_computes_nothing(evaluated):
    recorder, out = evaluated("MTEB(jpn, v1)")
    calls = len(recorder.calls)
    assert evaluate("MTEB(jpn, v1)", recorder, out) == []
    assert len(recorder.calls) == calls


@pytest.mark.long
def test_a_task_scores_the_same_alone_and_after_others(evaluated, tmp_path):
    _, out = evaluated("MTEB(rus, v1)")
    for name in ("SensitiveTopicsClassification", "RuSciBenchOECDClusteringP2P"):
        evaluate("MTEB(rus, v1)", Recorder(), tmp_path, [name])
        assert scores_of(tmp_path, name) == scores_of(out, name)


KILLED = """
import os, pathlib, signal, sys
from mteb_stand_ins import Recorder, load_stand_in
from ruri_kedro.benchmark.mteb.model import EncodingSettings, benchmark_encoder
from ruri_kedro.benchmark.mteb.run import evaluate_tasks, missing_tasks
from ruri_kedro.benchmark.mteb.tasks import benchmark_tasks
import yaml

params, out, log, *only = sys.argv[1:]
tasks = benchmark_tasks("MTEB(rus, v1)", only)
for task in tasks:
    type(task).load_data = load_stand_in
recorder = Recorder()

def encode(texts, *rest):
    if len(recorder.calls) == 4:  # in the second task, its training rows encoded, its test rows not
        os.kill(os.getpid(), signal.SIGKILL)
    with open(log, "a") as file:
        file.writelines(f"{text}\\n" for text in texts)
    return recorder(texts, *rest)

settings = EncodingSettings.of(yaml.safe_load(pathlib.Path(params).read_text("utf-8"))["mteb"], "ru-en-rosberta")
encoder = benchmark_encoder("tests/fake", "r1", encode, settings, pathlib.Path(out))
evaluate_tasks(missing_tasks(tasks, encoder, pathlib.Path(out)), encoder, pathlib.Path(out))
"""


@pytest.mark.long
def test_killed_evaluation_goes_on_with_the_first_missing_task(evaluated, tmp_path):
    _, whole = evaluated("MTEB(rus, v1)")
    # MassiveIntentClassification has two splits; the benchmark's order of tasks is kept.
    only = ["MassiveIntentClassification", "CEDRClassification", "RuBQRetrieval", "STS22"]
    order = [task.metadata.name for task in benchmark_tasks("MTEB(rus, v1)", only)]
    script, log = tmp_path / "killed.py", tmp_path / "log.txt"
    script.write_text(KILLED, encoding="utf-8")
    command = [sys.executable, script, REPOSITORY / "conf/base/parameters_benchmarks.yml", tmp_path, log, *only]
    path = os.pathsep.join([str(REPOSITORY / "tests/support"), *filter(None, [os.environ.get("PYTHONPATH")])])
    done = subprocess.run(command, env={**os.environ, "PYTHONPATH": path}, capture_output=True, text=True)
    assert done.returncode == -signal.SIGKILL, done.stderr
    first = tmp_path / "results/tests__fake/r1" / f"{order[0]}.json"
    assert [path.stem for path in first.parent.glob("*.json") if path.stem != "model_meta"] == order[:1]
    before = first.stat().st_mtime_ns

    recorder = Recorder()
    assert evaluate("MTEB(rus, v1)", recorder, tmp_path, only) == order[1:]
    assert first.stat().st_mtime_ns == before
    texts = [*log.read_text("utf-8").splitlines(), *(text for _, text in recorder.texts)]
    assert len(texts) == len(set(texts))
    for name in only:
        assert scores_of(tmp_path, name) == scores_of(whole, name)


def test_two_benchmarks_share_a_task_in_two_languages(tmp_path):
    name = "MassiveIntentClassification"
    for benchmark in ("MTEB(jpn, v1)", "MTEB(rus, v1)"):
        assert evaluate(benchmark, Recorder(), tmp_path, [name], prompts="e5") == [name]
    assert {row["hf_subset"] for row in scores_of(tmp_path, name)["test"]} == {"ja", "ru"}
    for benchmark in ("MTEB(jpn, v1)", "MTEB(rus, v1)", "JMTEB(v2)"):
        assert evaluate(benchmark, Recorder(), tmp_path, [name], prompts="e5") == []
        assert f"| {name} | Classification | accuracy |" in write_report(benchmark, {}, tmp_path)


def test_results_of_other_prompts_are_not_mixed(tmp_path):
    evaluate("MTEB(jpn, v1)", Recorder(), tmp_path, ["JSTS"])
    with pytest.raises(RecipeError, match="made with other prompts"):
        evaluate("MTEB(jpn, v1)", Recorder(), tmp_path, ["JSICK"], prompts="e5")
    shutil.rmtree(tmp_path / "results/tests__fake")
    assert evaluate("MTEB(jpn, v1)", Recorder(), tmp_path, ["JSTS"], prompts="e5") == ["JSTS"]


def test_another_model_has_results_and_vectors_of_its_own(tmp_path):
    evaluate("MTEB(jpn, v1)", Recorder(), tmp_path, ["JSTS"])
    other = Recorder()
    assert evaluate("MTEB(jpn, v1)", other, tmp_path, ["JSTS"], name="tests/other") == ["JSTS"]
    assert other.calls
    text = write_report("MTEB(jpn, v1)", {}, tmp_path)
    assert "tests/fake (r1)" in text and "tests/other (r1)" in text
    assert "tests/fake (r1): no result yet of LivedoorNewsClustering.v2" in text
