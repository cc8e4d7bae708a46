"""kill -9 in any step of any training: the weights are those of an uninterrupted run."""

import multiprocessing
import random
import signal

import pytest
from tiny_training import OBJECTIVES, STEPS, save_models, train

_PROCESSES = multiprocessing.get_context("forkserver")
_PROCESSES.set_forkserver_preload(["tiny_training"])
_STEP_SECONDS = 0.05  # a step takes about as long


def run_apart(*arguments) -> int:
    """Exit code of a training in a process of its own."""
    process = _PROCESSES.Process(target=train, args=arguments)
    process.start()
    process.join()
    return process.exitcode


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    folder = tmp_path_factory.mktemp("models")
    save_models(folder)
    return folder


@pytest.fixture(scope="module")
def uninterrupted(models, tmp_path_factory):
    """The weights, as bytes, that a training ends with when nothing stops it; each is trained once."""
    made = {}

    def weights(name):
        if name not in made:
            folder = tmp_path_factory.mktemp(name)
            assert run_apart(name, models, folder) == 0
            made[name] = (folder / "weights.safetensors").read_bytes()
        return made[name]

    return weights


def check(name, models, folder, expected, *kills):
    for kill in kills:
        assert run_apart(name, models, folder, kill) == -signal.SIGKILL
    assert not (folder / "weights.safetensors").exists()
    assert run_apart(name, models, folder) == 0
    assert (folder / "weights.safetensors").read_bytes() == expected


@pytest.mark.long
def test_a_killed_training_ends_with_the_same_weights(models, uninterrupted, tmp_path):
    check("pretraining", models, tmp_path, uninterrupted("pretraining"), (7, 0.6 * _STEP_SECONDS))


@pytest.mark.slow
@pytest.mark.parametrize("moment", range(10))
@pytest.mark.parametrize("name", OBJECTIVES)
def test_a_training_killed_at_any_moment_ends_with_the_same_weights(models, uninterrupted, tmp_path, name, moment):
    chance = random.Random(f"{name} {moment}")
    kills = [(chance.randrange(STEPS), chance.uniform(0, 1.5 * _STEP_SECONDS)) for _ in range(1 + moment % 2)]
    check(name, models, tmp_path, uninterrupted(name), *sorted(kills))
