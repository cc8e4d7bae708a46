"""Linear layers by oneDNN are those of torch."""

import pytest
import torch
import torch.nn.functional as F
from tiny import TEXTS, tiny_encoder

from ruri_kedro.models import onednn as products
from ruri_kedro.models.forward import encode
from ruri_kedro.models.onednn import fast_linear

CPU = torch.device("cpu")
pytestmark = pytest.mark.skipif(not torch.backends.mkldnn.is_available(), reason="torch without oneDNN")


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("shape", [(7, 12), (3, 5, 12), (1, 1, 12)])
@pytest.mark.parametrize("out", [5, 12, 40])
def test_values_and_gradients_are_those_of_torch(shape, out, bias):
    generator = torch.Generator().manual_seed(0)
    shapes = [shape, (out, 12), *[(out,)] * bias]
    leaves = [torch.randn(s, generator=generator, requires_grad=True) for s in shapes]
    pull = torch.randn((*shape[:-1], out), generator=generator)
    expected = F.linear(*leaves)
    with fast_linear(CPU):
        actual = F.linear(*leaves)
    assert type(actual.grad_fn) is not type(expected.grad_fn)
    torch.testing.assert_close(actual, expected)
    ours, theirs = (torch.autograd.grad(value, leaves, pull) for value in (actual, expected))
    for own, peer in zip(ours, theirs, strict=True):
        torch.testing.assert_close(own, peer, rtol=1e-4, atol=1e-5)


def test_frozen_weights_and_inputs_that_are_cut_from_others():
    whole, weight = torch.randn(6, 20, requires_grad=True), torch.randn(4, 10)
    with fast_linear(CPU):
        actual = F.linear(whole[:, 5:15], weight)
    expected = F.linear(whole[:, 5:15], weight)
    torch.testing.assert_close(actual, expected)
    for ours, theirs in zip(*(torch.autograd.grad(x.square().sum(), whole) for x in (actual, expected)), strict=True):
        torch.testing.assert_close(ours, theirs)


def test_other_precisions_are_left_to_torch(monkeypatch):
    monkeypatch.setattr(products, "_product", None)  # would be an error
    double, single = torch.randn(3, 4, dtype=torch.float64), torch.randn(3, 4)
    with fast_linear(CPU):
        assert F.linear(double, double).dtype == torch.float64
        with torch.autocast("cpu", dtype=torch.bfloat16):
            assert F.linear(single, single).dtype == torch.bfloat16
        assert F.linear(single[0], single).shape == (3,)


def test_embeddings_are_those_of_sentence_transformers_and_always_the_same():
    model = tiny_encoder()
    ours = encode(model, TEXTS, "文章: ", 64, 200)
    peer = model.encode(TEXTS, prompt="文章: ", normalize_embeddings=True)
    assert abs(ours - peer).max() < 1e-5
    assert (encode(model, TEXTS, "文章: ", 64, 200) == ours).all()
