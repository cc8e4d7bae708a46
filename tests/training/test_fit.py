"""The loop: learns, resumes to the bit, refuses another recipe, stops when the watch gives an alarm."""

import errno
import random
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from damage import cut, flipped
from safetensors.torch import load_file, save_file
from tiny_fit import IDS, SETTINGS, WATCHED, model

from ruri_kedro.errors import RecipeError, TrainingError
from ruri_kedro.tables.files import read_json, write_json
from ruri_kedro.training import checkpoints
from ruri_kedro.training.checkpoints import Checkpoints
from ruri_kedro.training.fit import fit, schedule
from ruri_kedro.training.measures import Measures
from ruri_kedro.training.plan import Batch
from ruri_kedro.training.settings import Averaging
from ruri_kedro.training.watch import Watch

BATCHES = [Batch(0, np.arange(i, i + 4)) for i in range(10)]
INPUTS = torch.randn(16, 6, generator=torch.Generator().manual_seed(0))
TARGET = INPUTS @ torch.randn(6, 2, generator=torch.Generator().manual_seed(1))


class Killed(Exception):
    """Stands for a process that ends in the middle of a step."""


def run(
    folder: Path, kill_at=None, identity=None, losses=None, error=Killed, label="test", settings=SETTINGS, rates=None
):
    trained = model()
    seen = losses if losses is not None else []

    def backward(batch):
        if kill_at is not None and len(seen) + 1 == kill_at:
            raise error
        loss = (trained(INPUTS[batch.rows]) - TARGET[batch.rows]).square().mean()
        loss.backward()
        return Measures(loss.item(), {"news": loss.item()}, 30, 40)

    def on_step(step, metrics):
        seen.append((step, metrics["loss"]))
        if rates is not None:
            rates.append(metrics["learning_rate"])

    keep = settings.averaging.last if settings.averaging else 2
    kept = Checkpoints(folder, identity or {"learning_rate": 0.01}, keep)
    fit(trained, BATCHES, backward, settings, kept, Watch(WATCHED, IDS, warmup_steps=2), on_step, label)
    return trained.state_dict(), seen


@pytest.mark.parametrize("kill_at", range(1, 11))
def test_a_killed_run_ends_with_the_same_weights(tmp_path, kill_at):
    """With dropout on, killed at any step, and once more after the first continuation."""
    whole, losses = run(tmp_path / "whole")
    with pytest.raises(Killed):
        run(tmp_path / "killed", kill_at=kill_at)
    with pytest.raises(Killed):
        run(tmp_path / "killed", kill_at=1)
    resumed, rest = run(tmp_path / "killed")
    for name in whole:
        assert torch.equal(whole[name], resumed[name])
    assert rest == losses[len(losses) - len(rest) :]


@pytest.mark.parametrize("kill_at", [1, 5, 9, 10])
def test_the_mean_of_the_last_checkpoints_is_the_model(tmp_path, kill_at):
    """Also of a training that was killed, and of one that is run again after its last step."""
    averaged = replace(SETTINGS, averaging=Averaging(3))
    whole, _ = run(tmp_path / "whole", settings=averaged)
    folders = [tmp_path / "whole" / f"step-{step:08d}" for step in (6, 9, 10)]
    weights = [load_file(folder / "model.safetensors") for folder in folders]
    for name, value in whole.items():
        expected = torch.stack([each[name].double() for each in weights]).mean(dim=0)
        torch.testing.assert_close(value, expected.float(), rtol=1e-6, atol=1e-8)
        assert not torch.equal(value, weights[-1][name])
    with pytest.raises(Killed):
        run(tmp_path / "killed", kill_at=kill_at, settings=averaged)
    for _ in range(2):
        resumed, _ = run(tmp_path / "killed", settings=averaged)
        assert all(torch.equal(resumed[name], value) for name, value in whole.items())


def test_checkpoints_that_are_not_there_are_not_averaged(tmp_path):
    with pytest.raises(RecipeError, match=r"pretraining\.averaging\.last: 5, but there are 4 checkpoints in 10 steps"):
        run(tmp_path, settings=replace(SETTINGS, averaging=Averaging(5)), label="pretraining")
    run(tmp_path)  # keeps two
    with pytest.raises(TrainingError, match=r"the last 3 checkpoints are to be averaged, but 2 are there\. Set aver"):
        run(tmp_path, settings=replace(SETTINGS, averaging=Averaging(3)))
    damaged = flipped(tmp_path / "step-00000009/model.safetensors", random.Random(0))
    with damaged, pytest.raises(TrainingError, match=r"last 2 checkpoints are to be averaged, but .*step-00000009"):
        run(tmp_path, settings=replace(SETTINGS, averaging=Averaging(2)))
    assert run(tmp_path)[1] == []


def test_a_device_without_memory_is_one_line_that_names_what_to_lower(tmp_path):
    whole, _ = run(tmp_path / "whole")
    full = torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.\nSee the documentation")
    said = (
        r"^reranking_stage1: the device has no memory left \(CUDA out of memory\. Tried to allocate 2\.00 GiB\.\)\. "
        r"Lower reranking\.stage1\.chunk_tokens or reranking\.stage1\.keep_tokens and run the same again: .*point\.$"
    )
    with pytest.raises(TrainingError, match=said) as caught:
        run(tmp_path / "full", kill_at=8, error=full, label="reranking_stage1")
    assert "\n" not in str(caught.value)
    resumed, rest = run(tmp_path / "full")
    assert rest[0][0] > 1 and all(torch.equal(whole[name], resumed[name]) for name in whole)


def test_a_training_on_the_cpu_leaves_a_gpu_alone(tmp_path, monkeypatch):
    """To ask a GPU for its random state would start it."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    for call in ("get_rng_state", "set_rng_state"):
        monkeypatch.setattr(torch.cuda, call, lambda *_: pytest.fail("the GPU was started"))
    with pytest.raises(Killed):
        run(tmp_path, kill_at=8)
    _, rest = run(tmp_path)
    assert rest[0][0] > 1


def test_a_finished_stage_is_not_trained_again(tmp_path):
    first, _ = run(tmp_path)
    again, losses = run(tmp_path)
    assert losses == []
    assert all(torch.equal(first[name], again[name]) for name in first)


def test_a_changed_recipe_is_refused_and_named(tmp_path):
    with pytest.raises(Killed):
        run(tmp_path, kill_at=8)
    with pytest.raises(TrainingError, match=r"learning_rate: 0.01 -> 0.02.*remove"):
        run(tmp_path, identity={"learning_rate": 0.02})


def damaged_trainings(folder: Path, tries: int, caplog) -> None:
    """A training that was killed behind steps 3 and 6 goes on behind 3 if what is there of 6 is damaged."""
    whole, _ = run(folder / "whole")
    with pytest.raises(Killed):
        run(folder / "killed", kill_at=8)
    rng = random.Random(tries)
    for number in range(tries):
        shutil.copytree(folder / "killed", folder / str(number))
        path = rng.choice(sorted((folder / str(number)).glob("step-00000006/*")))
        with cut(path, 0.5) if number % 4 == 0 else flipped(path, rng):
            resumed, rest = run(folder / str(number))
        assert rest[0][0] == 4 and all(torch.equal(whole[name], resumed[name]) for name in whole)
        assert f"{path}: " in caplog.text and "The training goes on from the checkpoint before it" in caplog.text


def test_of_two_checkpoints_the_older_is_taken_if_the_newer_is_damaged(tmp_path, caplog):
    damaged_trainings(tmp_path, 5, caplog)


@pytest.mark.slow
def test_of_two_checkpoints_the_older_is_taken_whatever_bit_of_the_newer_is_wrong(tmp_path, caplog):
    damaged_trainings(tmp_path, 40, caplog)


def test_where_all_checkpoints_are_damaged_they_are_named(tmp_path):
    with pytest.raises(Killed):
        run(tmp_path, kill_at=8)
    older, newer = (tmp_path / f"step-0000000{step}/optimizer.safetensors" for step in (3, 6))
    with flipped(older, random.Random(0)), cut(newer, 0.5), pytest.raises(TrainingError) as caught:
        run(tmp_path)
    assert all(f"{path}: " in str(caught.value) for path in (older, newer))
    assert f"To train anew remove {tmp_path}" in str(caught.value)
    _, rest = run(tmp_path)
    assert rest[0][0] == 7


def test_a_checkpoint_of_0_1_goes_on_and_a_broken_one_is_passed_over(tmp_path):
    with pytest.raises(Killed):
        run(tmp_path, kill_at=8)
    for path in tmp_path.glob("step-*/state.json"):
        old = {name: value for name, value in read_json(path).items() if name not in ("files", "check")}
        write_json(path, old)
    shutil.copytree(tmp_path, tmp_path / "broken")
    assert run(tmp_path)[1][0][0] == 7
    with cut(tmp_path / "broken/step-00000006/model.safetensors", 0.5):
        assert run(tmp_path / "broken")[1][0][0] == 4


def test_a_half_written_checkpoint_is_not_seen(tmp_path):
    with pytest.raises(Killed):
        run(tmp_path / "killed", kill_at=8)
    half = tmp_path / "killed" / "step-00000009"
    half.mkdir()
    (half / "model.safetensors").write_bytes(b"half")
    whole, _ = run(tmp_path / "whole")
    resumed, _ = run(tmp_path / "killed")
    assert all(torch.equal(whole[name], resumed[name]) for name in whole)


def test_only_the_newest_checkpoints_stay_and_hold_no_pickle(tmp_path):
    run(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["step-00000009", "step-00000010"]
    files = {path.name for path in (tmp_path / "step-00000010").iterdir()}
    assert files == {"model.safetensors", "optimizer.safetensors", "random.safetensors", "state.json"}
    assert "0.weight|exp_avg" in load_file(tmp_path / "step-00000010" / "optimizer.safetensors")


@pytest.fixture
def disk(monkeypatch):
    """A disk with room for so many checkpoints; another one raises what a full disk does."""

    class Disk:
        room = 100

        def write(self, tensors, path):
            others = [file for file in path.parent.parent.glob("*/model.safetensors") if file.parent != path.parent]
            if len(others) >= self.room:
                path.write_bytes(b"half")
                raise OSError(errno.ENOSPC, "No space left on device")
            save_file(tensors, path)

    made = Disk()
    monkeypatch.setattr(checkpoints, "save_file", made.write)
    return made


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_a_full_disk_costs_no_training(tmp_path, disk, caplog):
    whole, _ = run(tmp_path / "whole")
    disk.room = 0
    with pytest.raises(Killed):
        run(tmp_path / "full", kill_at=5)
    assert names(tmp_path / "full") == [] and "No space left on device" in caplog.text and "none yet" in caplog.text
    disk.room = 100
    with pytest.raises(Killed):
        run(tmp_path / "full", kill_at=8)
    kept = names(tmp_path / "full")
    disk.room = 0
    ended, _ = run(tmp_path / "full")
    assert names(tmp_path / "full") == kept[-1:], "the last good one stays"
    assert f"make room in {tmp_path / 'full'}. Last good one: {tmp_path / 'full' / kept[-1]}" in caplog.text
    disk.room = 100
    again, losses = run(tmp_path / "full")
    assert len(losses) == 10 - int(kept[-1].removeprefix("step-"))
    for name in whole:
        assert torch.equal(whole[name], ended[name]) and torch.equal(whole[name], again[name])


def test_older_checkpoints_make_room_for_a_new_one(tmp_path, disk, caplog):
    disk.room = 2
    run(tmp_path)
    assert names(tmp_path) == ["step-00000009", "step-00000010"]
    assert "no checkpoint" not in caplog.text


def test_the_schedule_rises_to_one_and_falls_towards_zero():
    rates = [schedule(step, 10, 2) for step in range(1, 11)]
    assert rates[:2] == [0.5, 1.0]
    assert rates[2:] == sorted(rates[2:], reverse=True)
    assert 0 < rates[-1] < 0.2
    assert schedule(1, 10, 0) == pytest.approx(10 / 11)


def test_a_number_of_warm_up_steps_takes_the_place_of_the_share(tmp_path, caplog):
    assert SETTINGS.warmup(10) == 2 and replace(SETTINGS, warmup_steps=7).warmup(10) == 7
    assert replace(SETTINGS, warmup_steps=0).warmup(10) == 0
    rates = []
    run(tmp_path / "five", settings=replace(SETTINGS, warmup_steps=5), rates=rates)
    assert rates.index(max(rates)) == 4 and max(rates) == SETTINGS.learning_rate
    assert "does not reach its highest value" not in caplog.text
    run(tmp_path / "long", settings=replace(SETTINGS, warmup_steps=50))
    assert "warmup_steps: 50, but there are 10 steps" in caplog.text


def test_training_lowers_the_loss(tmp_path):
    trained = model().eval()
    before = (trained(INPUTS) - TARGET).square().mean()
    weights, _ = run(tmp_path)
    trained.load_state_dict(weights)
    assert (trained(INPUTS) - TARGET).square().mean() < before
