"""Benchmarks are mteb's own; without the hub, what is missing is said before anything is computed."""

import json
import os

import pytest

from ruri_kedro.benchmark.mteb import tasks as mteb_tasks
from ruri_kedro.benchmark.mteb.model import EncodingSettings
from ruri_kedro.benchmark.mteb.tasks import benchmark_tasks, check_data, fresh, hub_reachable, missing_data
from ruri_kedro.errors import DataError, RecipeError

PARAMS = {"max_length": 512, "chunk_tokens": 4096, "tasks": {}, "prompts": {"p": {"query": "q: ", "document": ""}}}


def task(name, benchmark="MTEB(jpn, v1)"):
    return benchmark_tasks(benchmark, [name])[0]


def put(cache, task, configuration, revision=None, age=0):
    """A complete copy of a configuration, as the library keeps it."""
    path, pinned = task.metadata.dataset["path"], task.metadata.dataset["revision"]
    names = {"mteb/JSTS": "mteb___jsts", "mteb/ESCIReranking": "mteb___esci_reranking", "mteb/mrtidy": "mteb___mrtidy",
             "mteb/JaGovFaqsRetrieval": "mteb___ja_gov_faqs_retrieval", "mteb/AmazonReviewsClassification":
             "mteb___amazon_reviews_classification"}  # fmt: skip
    folder = cache / names[path] / configuration / "0.0.0" / (revision or pinned)
    folder.mkdir(parents=True)
    (folder / "dataset_info.json").write_text(json.dumps({"config_name": configuration}), encoding="utf-8")
    os.utime(folder, (1e9 - age, 1e9 - age))


def test_unknown_names_are_answered_with_known_ones():
    with pytest.raises(RecipeError, match=r"Did you mean: MTEB\(jpn, v1\)"):
        benchmark_tasks("MTEB(jpn, v2)")
    with pytest.raises(RecipeError, match=r"has no task 'JSTT'. It has: .*JSTS"):
        benchmark_tasks("MTEB(jpn, v1)", ["JSTT"])


def test_fresh_task_keeps_splits_and_languages():
    for benchmark in ("MTEB(jpn, v1)", "MTEB(rus, v1)", "JMTEB(v2)"):
        for old in benchmark_tasks(benchmark):
            new = fresh(old)
            assert new is not old and not new.data_loaded
            assert list(new.eval_splits) == list(old.eval_splits)
            assert new.hf_subsets == old.hf_subsets
    assert fresh(task("RuSTSBenchmarkSTS", "MTEB(rus, v1)")).eval_splits == ["test"]


def test_data_at_the_pinned_revision_are_there(tmp_path):
    for name, configurations in {
        "JSTS": ["default"],
        "AmazonReviewsClassification": ["ja"],
        "JaGovFaqsRetrieval": ["corpus", "queries", "default"],
        "MrTidyRetrieval": ["japanese-corpus", "japanese-queries", "japanese-qrels"],
        "ESCIReranking": ["jp-corpus", "jp-queries", "jp-qrels", "jp-top_ranked"],
    }.items():
        assert "is not there" in missing_data(task(name), tmp_path)
        for number, configuration in enumerate(configurations):
            assert missing_data(task(name), tmp_path), (name, number)
            put(tmp_path, task(name), configuration)
        assert missing_data(task(name), tmp_path) is None


def test_a_newer_copy_of_another_revision_is_no_copy(tmp_path):
    put(tmp_path, task("JSTS"), "default", age=10)
    put(tmp_path, task("JSTS"), "default", revision="f" * 40, age=20)
    assert missing_data(task("JSTS"), tmp_path) is None
    put(tmp_path, task("JSTS"), "default", revision="e" * 40)
    assert f"is there at revision {'e' * 40}, not at 5bac629e" in missing_data(task("JSTS"), tmp_path)


def test_error_names_every_missing_task_and_what_can_run(tmp_path):
    tasks = benchmark_tasks("MTEB(jpn, v1)")
    put(tmp_path, task("JSTS"), "default")
    with pytest.raises(DataError) as caught:
        check_data(tasks, online=False, cache=tmp_path)
    message = str(caught.value)
    assert "the data of 15 of 16 tasks are not in" in message
    assert "Can run: JSTS (--task" in message
    for other in tasks:
        assert (f"\n  {other.metadata.name}: " in message) == (other.metadata.name != "JSTS")
    check_data([task("JSTS")], online=False, cache=tmp_path)
    check_data(tasks, online=True, cache=tmp_path)


def test_offline_environment_is_believed_without_asking(monkeypatch):
    import huggingface_hub
    from datasets import config

    monkeypatch.setattr(config, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(huggingface_hub, "get_session", lambda: pytest.fail("the hub was asked"))
    assert hub_reachable() is False


def test_hub_that_does_not_answer_is_not_reachable(monkeypatch):
    import httpx2
    import huggingface_hub
    from datasets import config

    class Session:
        def head(self, url, timeout):
            raise httpx2.ConnectError("no route")

    monkeypatch.setattr(config, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(huggingface_hub, "get_session", Session)
    assert mteb_tasks.hub_reachable() is False


def test_prompt_by_task_then_type_and_side_then_side():
    prompts = {"query": "1", "document": "2", "Reranking": "3", "Reranking-query": "4", "ESCIReranking-document": "5",
               "STS": "6", "JSICK": "7"}  # fmt: skip
    settings = EncodingSettings(prompts, 512, 4096)
    assert settings.task_prompts(task("JaqketRetrieval")) == {"query": "1", "document": "2"}
    assert settings.task_prompts(task("ESCIReranking")) == {"query": "4", "document": "5"}
    assert settings.task_prompts(task("JSTS")) == {"text": "6"}
    assert settings.task_prompts(task("JSICK")) == {"text": "7"}


def test_a_task_without_a_prompt_is_an_error():
    settings = EncodingSettings.of(PARAMS, "p")
    assert settings.task_prompts(task("JaqketRetrieval")) == {"query": "q: ", "document": ""}
    with pytest.raises(RecipeError, match=r"task 'JSTS': the prompts have none of the keys JSTS, STS. Give one"):
        settings.task_prompts(task("JSTS"))


def test_lengths_by_task_and_unknown_parameters():
    settings = EncodingSettings.of({**PARAMS, "tasks": {"JSTS": {"max_length": 64}}}, "p")
    assert (settings.length_of("JSTS"), settings.length_of("JSICK"), settings.chunk_of("JSTS")) == (64, 512, 4096)
    with pytest.raises(RecipeError, match=r"prompts 'q' are not in mteb.prompts. There are: p"):
        EncodingSettings.of(PARAMS, "q")
    with pytest.raises(RecipeError, match=r"mteb\.tasks\.JSTS\.batch_size: there is no such parameter"):
        EncodingSettings.of({**PARAMS, "tasks": {"JSTS": {"batch_size": 1}}}, "p")
