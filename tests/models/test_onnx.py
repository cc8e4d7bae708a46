"""ONNX graphs give what the models give."""

import numpy as np
import pytest
from tiny import TEXTS, tiny_encoder, tiny_reranker

from ruri_kedro.errors import RecipeError
from ruri_kedro.models import onnx


def test_without_the_packages_the_remedy_is_named(tmp_path, monkeypatch):
    monkeypatch.setattr(onnx, "find_spec", lambda name: None if name == "onnxscript" else object())
    with pytest.raises(RecipeError, match=r"ONNX needs onnxscript\. Run: pip install 'ruri-kedro\[onnx\]'"):
        onnx.export_onnx(tmp_path, "embedder", tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["embedder", "reranker"])
def test_a_graph_gives_the_numbers_of_its_model(tmp_path, kind):
    pytest.importorskip("onnx")
    pytest.importorskip("onnxscript")
    from sentence_transformers import CrossEncoder, SentenceTransformer

    from ruri_kedro.models.forward import encode, score_pairs

    folder, out = tmp_path / "model", tmp_path / "out"
    if kind == "embedder":
        tiny_encoder().save_pretrained(str(folder))
        model = SentenceTransformer(str(folder), device="cpu")
    else:
        tiny_reranker(tmp_path / "base").save_pretrained(str(folder))
        model = CrossEncoder(str(folder), device="cpu")
    graphs = onnx.export_onnx(folder, kind, out, int8=True)
    assert graphs == [onnx.GRAPH, onnx.INT8_GRAPH] and (out / "model.safetensors").is_file()
    pairs = [(query, passage) for query in TEXTS[:3] for passage in ("駅", *TEXTS[5:9], TEXTS[0] * 3)]

    def numbers(model):
        if kind == "embedder":
            return encode(model, [*TEXTS, "駅"], "クエリ: ", 64, 400)
        return score_pairs(model, pairs, 64, 400)

    expected = numbers(model)
    assert np.allclose(numbers(onnx.load_onnx(out, kind)), expected, atol=1e-5)
    rough = numbers(onnx.load_onnx(out, kind, onnx.INT8_GRAPH))
    assert 0 < np.abs(rough - expected).max() < 0.2
    assert (out / onnx.INT8_GRAPH).stat().st_size < (out / onnx.GRAPH).stat().st_size
