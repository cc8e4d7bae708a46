"""Several processes compute what one does, one clear error ends them all, and any number continues a training."""

import signal
import socket
from dataclasses import replace
from functools import partial
from queue import SimpleQueue

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from process_parts import Nothing, Scores, dying, failing, gradients, host, load_nothing
from safetensors.torch import load_file
from tiny import PROMPTS, tiny_encoder, tiny_reranker
from train_tables import stage, tables

from ruri_kedro.errors import RecipeError, TrainingError
from ruri_kedro.models.base import load_encoder
from ruri_kedro.training import processes
from ruri_kedro.training.plan import Plan
from ruri_kedro.training.processes import Hosts, train_in_processes, wanted
from ruri_kedro.training.run import train_embedder, train_reranker

BUDGETS = {"chunk_tokens": 40, "keep_tokens": 60}  # several chunks for each process, some kept, some computed twice


def train(folder, kind, devices, **settings):
    """Weights after a training, and the metrics of its steps. kind: an objective, or listwise for a reranker."""
    seen = []
    used = replace(stage(folder, **BUDGETS | settings), devices=devices)

    def report(step, metrics):
        seen.append((step, metrics))

    if kind == "listwise":
        model = tiny_reranker(folder / "start")
        train_reranker(model, *tables(folder, kind), used, report)
    else:
        model = tiny_encoder()
        teacher = Scores() if kind == "distillation" else None
        train_embedder(model, *tables(folder, kind), PROMPTS, used, report, teacher)
    planned = folder / "checkpoints/tuned"
    return model.state_dict(), seen, (Plan.open(planned / "plan").digest(), (planned / "steps.json").read_text())


def assert_same(first, second):
    (weights, seen, plan), (others, told, same_plan) = first, second
    assert plan == same_plan
    assert [step for step, _ in seen] == [step for step, _ in told] and seen
    for (_, one), (_, two) in zip(seen, told, strict=True):
        for name in ("loss", "grad_norm"):
            # The steps go apart as rounding errors add up; single ones are compared more closely below.
            assert two[name] == pytest.approx(one[name], rel=1e-3), name
    # A reranker's scores may be shifted: its last bias has no gradient but rounding errors, which Adam scales up.
    for name in [name for name in weights if not name.endswith("classifier.bias")]:
        torch.testing.assert_close(weights[name], others[name], rtol=1e-2, atol=1e-4)


@pytest.mark.long
def test_two_processes_train_as_one(tmp_path):
    before = signal.getsignal(signal.SIGTERM)
    assert_same(train(tmp_path / "one", "contrastive", 1), train(tmp_path / "two", "contrastive", 2))
    assert signal.getsignal(signal.SIGTERM) is before, "the launcher has handlers of its own"


@pytest.mark.slow
@pytest.mark.parametrize("devices", [2, 4])
@pytest.mark.parametrize("kind", ["info_nce", "distillation", "listwise"])
def test_every_objective_is_trained_by_several_processes(tmp_path, kind, devices):
    settings = {"matryoshka_dims": [32, 8]} if kind == "info_nce" else {}
    one = train(tmp_path / "one", kind, 1, **settings)
    assert_same(one, train(tmp_path / "many", kind, devices, **settings))


@pytest.mark.slow
@pytest.mark.parametrize("devices", [2, 4])
def test_batches_of_one_row_are_trained_by_more_processes_than_they_have_chunks(tmp_path, devices):
    settings = {"batch_size": 1, "chunk_tokens": 4096}
    assert_same(train(tmp_path / "one", "contrastive", 1, **settings),
                train(tmp_path / "many", "contrastive", devices, **settings))  # fmt: skip


@pytest.mark.parametrize("kind", ["contrastive", "distillation", "listwise"])
def test_loss_and_gradients_are_those_of_one_process(tmp_path, kind):
    for size in (1, 2, 4):
        # Forked: what has been imported is there, and the processes of a test use no threads.
        torch.multiprocessing.start_processes(gradients, (tmp_path, size, kind), nprocs=size, start_method="fork")
    one = load_file(tmp_path / "1-0.safetensors")
    largest = max(float(value.abs().max()) for value in one.values())
    for size in (2, 4):
        for rank in range(size):
            many = load_file(tmp_path / f"{size}-{rank}.safetensors")
            assert many.keys() == one.keys() and len(one) > 5
            for name, value in one.items():
                torch.testing.assert_close(many[name], value, rtol=1e-5, atol=1e-5 * largest)


@pytest.mark.slow
@pytest.mark.parametrize(("before", "after"), [(2, 1), (1, 2), (2, 4)])
def test_a_killed_training_is_continued_by_another_number_of_processes(tmp_path, before, after):
    whole, seen, plan = train(tmp_path / "whole", "contrastive", 1)
    folder = tmp_path / "killed"
    examples, passages = tables(folder)
    arguments = {"examples": examples, "passages": passages, "prompts": PROMPTS}
    part = partial(dying, stage=stage(folder, **BUDGETS), at=5)
    with pytest.raises(TrainingError, match="SIGKILL"):
        train_in_processes(tiny_encoder(), load_encoder, part, arguments, before, "cpu", lambda *_: None, "tuned")
    weights, rest, same_plan = train(folder, "contrastive", after)
    assert [step for step, _ in rest] == [5, 6]
    assert_same((whole, seen[4:], plan), (weights, rest, same_plan))


@pytest.mark.long
@pytest.mark.parametrize(
    ("way", "message"),
    [
        ("killed", r"^tuned stopped, one of its 2 processes failed: .*SIGKILL, perhaps for want of memory.*continues"),
        pytest.param("ours", r"^tuned stopped: loss nan at step 3$", marks=pytest.mark.slow),
        pytest.param("other", r"process 1: ZeroDivisionError: no batch\. The last", marks=pytest.mark.slow),
        pytest.param("silent", r"process 1: ZeroDivisionError: no word of why\. The last", marks=pytest.mark.slow),
    ],
)
def test_a_process_that_fails_ends_all_with_one_error(way, message):
    steps = []
    with pytest.raises(TrainingError, match=message):
        train_in_processes(
            Nothing(), load_nothing, failing, {"way": way}, 2, "cpu", lambda *seen: steps.append(seen), "tuned"
        )
    assert steps == [(1, {"loss": 1.0})], "of the first process alone"


@pytest.mark.slow
def test_two_hosts_train_as_one(tmp_path):
    """Two hosts on one machine, each with data and checkpoints of its own."""
    whole, seen, plan = train(tmp_path / "whole", "contrastive", 1)
    with socket.socket() as free:
        free.bind(("localhost", 0))
        port = free.getsockname()[1]
    forked = torch.multiprocessing.get_context("fork")
    hosts = [forked.Process(target=host, args=(tmp_path / str(number), number, port)) for number in range(2)]
    for process in hosts:
        process.start()
    for process in hosts:
        process.join()
    assert [process.exitcode for process in hosts] == [0, 0]
    for number, steps in ((0, 6), (1, 0)):
        weights = load_file(tmp_path / str(number) / "weights.safetensors")
        assert len(weights.pop("steps")) == steps, "the first host alone reports"
        assert Plan.open(tmp_path / str(number) / "checkpoints/tuned/plan").digest() == plan[0]
        for name in whole:
            torch.testing.assert_close(weights[name], whole[name], rtol=1e-2, atol=1e-4)
    assert list((tmp_path / "0/checkpoints").rglob("step-*")) and len(seen) == 6
    assert not list((tmp_path / "1/checkpoints").rglob("step-*"))


def test_without_other_processes_nothing_is_done():
    weight = torch.nn.Parameter(torch.ones(2))
    processes.sum_gradients([weight])
    assert weight.grad is None and processes.share([3, 1, 2]) == [0, 1, 2]
    with processes.first_of_host():
        assert processes.from_first(lambda: {"a": 1}) == {"a": 1}
    assert processes.rank() == 0


@given(st.lists(st.integers(1, 100), max_size=40), st.integers(1, 9))
def test_work_is_dealt_once_and_evenly(costs, size):
    shares = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(processes, "size", lambda: size)
        for rank in range(size):
            patch.setattr(processes, "rank", lambda rank=rank: rank)
            shares.append(processes.share(costs))
    assert sorted(position for share in shares for position in share) == list(range(len(costs)))
    loads = [sum(costs[position] for position in share) for share in shares]
    assert max(loads) - min(loads) <= max(costs, default=0)


def test_devices_are_a_number_or_all(monkeypatch):
    assert wanted("cpu", "auto") == 0 and wanted("cpu", 1) == 0 and wanted("cpu", 3) == 3
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 4)
    assert wanted("auto", "auto") == 4 and wanted("cuda", 2) == 2 and wanted("auto", 1) == 0
    for wrong, message in ((8, "8, but there are 4 CUDA devices"), (0, "auto or a number"), ("all", "auto or a num")):
        with pytest.raises(RecipeError, match=message):
            wanted("cuda", wrong)


def test_a_report_that_fails_keeps_no_process_waiting():
    """The processes write into a pipe: one that nobody reads is full after some hundred steps, and they wait."""
    reports, taken = SimpleQueue(), []
    for step in (1, 2, 3):
        reports.put((step, {}))
    reports.put(None)

    def on_step(step, metrics):
        taken.append(step)
        if step == 1:
            raise OSError("the tracking store is gone")

    with pytest.raises(OSError, match="the tracking store is gone"):
        processes._read_reports(reports, on_step, [])
    assert taken == [1, 2, 3] and reports.empty()


def test_the_first_process_has_the_threads_of_all_for_what_the_others_wait_for(monkeypatch):
    alone = processes.threads_of_host()
    assert alone == torch.get_num_threads()
    monkeypatch.setattr(torch.distributed, "is_initialized", lambda: True)
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "4")
    assert processes.threads_of_host() == 4 * alone


def test_hosts_are_named_by_the_variables_of_torchrun(monkeypatch):
    assert Hosts.of({}) == Hosts.of({"PET_NNODES": "1"}) == Hosts()
    several = {"PET_NNODES": "2", "PET_NODE_RANK": "1", "PET_MASTER_ADDR": "first", "PET_MASTER_PORT": "29500"}
    assert Hosts.of(several) == Hosts(2, 1, "first", 29500)
    with pytest.raises(RecipeError, match=r"PET_NNODES is 2, but PET_MASTER_ADDR not set"):
        Hosts.of({key: value for key, value in several.items() if key != "PET_MASTER_ADDR"})
    for key, value in several.items():
        monkeypatch.setenv(key, value)
    assert wanted("cpu", 1) == 1, "one process here, and more elsewhere"
