"""Trainings that go wrong are stopped in time, with the last good checkpoint; the others are left alone."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file
from tiny_fit import IDS, SETTINGS, WATCHED, model

from ruri_kedro.errors import TrainingError
from ruri_kedro.training.checkpoints import Checkpoints
from ruri_kedro.training.fit import fit, warmup_steps
from ruri_kedro.training.measures import Measures
from ruri_kedro.training.plan import Batch
from ruri_kedro.training.watch import Watch

INPUTS = torch.randn(16, 6, generator=torch.Generator().manual_seed(0))
LOSS, SIMILARITY = 2.0, 0.4


def watched(folder, measures, steps=40, begin=0, broken=(), checkpoint_steps=5, warmup=0.1):
    """Train with the losses and similarities `measures` gives by step; the last step's number and the weights.

    The gradients are those of a real loss, except in the steps `broken`, where they are NaN.
    """
    trained, reached = model(), [begin]
    batches = [Batch(step % 2, np.arange(step * 4, step * 4 + 4)) for step in range(steps)]

    def backward(batch):
        reached[0] += 1
        (trained(INPUTS[batch.rows % 16]).mean() * (float("nan") if reached[0] in broken else 1.0)).backward()
        loss, similarity = measures(reached[0])
        return Measures(loss, {}, 10, 10, similarity)

    settings = replace(SETTINGS, checkpoint_steps=checkpoint_steps, warmup_ratio=warmup)
    watch = Watch(WATCHED, IDS, warmup_steps(steps, warmup))
    fit(trained, batches, backward, settings, Checkpoints(folder, {}, keep=2), watch, lambda *_: None, "tuned")
    return trained.state_dict()


def noisy(step):
    """A loss that falls with noise; source 1 has another level than source 0."""
    noise = float(torch.rand(1, generator=torch.Generator().manual_seed(step)))
    return (step % 2) * 3 + LOSS * 0.99**step + 0.1 * noise, SIMILARITY


def kept(folder):
    return sorted(path.name for path in folder.glob("step-*"))


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_a_loss_that_is_no_number_stops_at_once(tmp_path, value):
    message = rf"tuned stopped: loss {value} .*at step 18. Examples of step 18: example 68, .* 71 .*step-00000015"
    with pytest.raises(TrainingError, match=message):
        watched(tmp_path, lambda step: (value if step == 18 else LOSS, SIMILARITY))
    assert kept(tmp_path) == ["step-00000010", "step-00000015"]


def test_a_gradient_that_is_no_number_stops_before_it_reaches_the_weights(tmp_path):
    with pytest.raises(TrainingError, match=r"loss 2.0 and gradient norm nan at step 11"):
        watched(tmp_path, lambda _: (LOSS, SIMILARITY), broken=[11])
    assert kept(tmp_path) == ["step-00000005", "step-00000010"]
    weights = load_file(tmp_path / "step-00000010" / "model.safetensors")
    assert all(torch.isfinite(weight).all() for weight in weights.values())


def test_a_spike_stops_with_the_checkpoint_before_it(tmp_path):
    """The loss jumps at step 24; step 25 would write a checkpoint."""
    with pytest.raises(TrainingError, match=r"rose to 9 at step 24 and stayed high for 3 steps.*example 92,") as error:
        watched(tmp_path, lambda step: (9.0 if step >= 24 else noisy(step)[0], SIMILARITY))
    assert kept(tmp_path) == ["step-00000015", "step-00000020"]
    assert str(tmp_path / "step-00000020") in str(error.value) and "run.watch.spike_rise" in str(error.value)
    stopped = json.loads((tmp_path / "stopped.json").read_text("utf-8"))
    assert stopped["step"] == 24 and stopped["example_ids"] == [f"example {row}" for row in range(92, 96)]


def test_a_spike_is_one_against_the_losses_of_its_own_source(tmp_path):
    """Source 0 rises to what is usual for source 1: seen, since source 1 rises too."""
    with pytest.raises(TrainingError, match=r"at step 30 "):
        watched(tmp_path, lambda step: (noisy(step)[0] + 3 * (step >= 30), SIMILARITY))


def test_one_high_loss_only_puts_the_checkpoint_off(tmp_path):
    found = []

    def measures(step):
        found.append(kept(tmp_path))
        return 9.0 if step == 25 else noisy(step)[0], SIMILARITY

    watched(tmp_path, measures)
    assert found[25][-1] == "step-00000020"  # step 26 begins
    assert found[26][-1] == "step-00000026"
    assert kept(tmp_path) == ["step-00000035", "step-00000040"]


def test_the_watch_remembers_over_an_interruption(tmp_path):
    """Continued at step 21, with a spike at 22: too few losses since then, enough before."""
    with pytest.raises(TrainingError, match="loss nan"):
        watched(tmp_path, lambda step: (float("nan") if step == 21 else noisy(step)[0], SIMILARITY))
    with pytest.raises(TrainingError, match="rose to 9 at step 22"):
        watched(tmp_path, lambda step: (9.0 if step >= 22 else noisy(step)[0], SIMILARITY), begin=20)
    assert kept(tmp_path) == ["step-00000015", "step-00000020"]


def test_a_collapse_stops_with_the_checkpoint_before_it(tmp_path):
    message = (
        r"collapsed: .* 0.9950 at step 22 and has been 0.99 or more since step 19. Examples of step 19: example 72"
    )
    with pytest.raises(TrainingError, match=message):
        watched(tmp_path, lambda step: (noisy(step)[0], 0.995 if step >= 19 else 0.5))
    assert kept(tmp_path) == ["step-00000010", "step-00000015"]


def test_similar_embeddings_during_warm_up_are_no_collapse(tmp_path):
    def slowly(step):
        return noisy(step)[0], 0.999 if step <= 12 else 0.5

    watched(tmp_path / "long", slowly, warmup=0.25)
    assert kept(tmp_path / "long")[-1] == "step-00000040"
    with pytest.raises(TrainingError, match=r"collapsed: .*since step 5"):
        watched(tmp_path / "short", slowly, warmup=0.1)


def test_the_watch_changes_no_weight(tmp_path):
    calm = watched(tmp_path / "calm", lambda step: (LOSS, SIMILARITY))
    alert = watched(tmp_path / "alert", lambda step: (9.0 if step in (12, 25, 26) else LOSS, 0.995 * (step % 3 > 0)))
    assert all(torch.equal(calm[name], alert[name]) for name in calm)


@settings(max_examples=40, deadline=None)
@given(st.floats(1e-3, 20), st.floats(0, 0.3), st.integers(0, 10**6))
def test_noise_and_a_falling_loss_never_give_an_alarm(level, noise, seed):
    watch = Watch(WATCHED, IDS, 0)
    rng = np.random.default_rng(seed)
    for step in range(1, 200):
        loss = level * (0.3 + 0.98**step) * (1 + noise * rng.standard_normal())
        assert watch.see(step, Batch(0, np.arange(4)), Measures(loss, {}, 1, 1, 0.9), 1.0) is None
