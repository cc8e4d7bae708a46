"""A training of a late interaction model that is killed ends with the bytes of one that was not."""

import multiprocessing
import random
import signal

import killed_process
import pytest
import torch
from late_training import train_apart
from safetensors.torch import load_file

_PROCESSES = multiprocessing.get_context("forkserver")
_PROCESSES.set_forkserver_preload(["late_training"])

pytestmark = [pytest.mark.slow, pytest.mark.timeout(3600)]


def run_apart(folder, seconds=None):
    return killed_process.run_apart(_PROCESSES, train_apart, (folder,), seconds)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """The weights of a training that nothing stopped, and the seconds it took."""
    folder = tmp_path_factory.mktemp("whole")
    assert run_apart(folder / "warm")[0] == 0
    code, seconds = run_apart(folder / "trained")
    assert code == 0
    return load_file(folder / "trained/weights.safetensors"), seconds


@pytest.mark.parametrize("moment", range(20))
def test_twenty_kills(whole, tmp_path, moment):
    weights, seconds = whole
    code, _ = run_apart(tmp_path / "killed", random.Random(moment).uniform(0.1, 0.95) * seconds)
    assert code in (-signal.SIGKILL, 0)
    assert run_apart(tmp_path / "killed")[0] == 0
    found = load_file(tmp_path / "killed/weights.safetensors")
    assert found.keys() == weights.keys()
    assert all(torch.equal(found[name], value) for name, value in weights.items())
