"""Models of any origin keep the modules they were saved with."""

import numpy as np
import pytest
from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer.modules import Pooling
from tiny import TEXTS, tiny_encoder

from ruri_kedro.errors import RecipeError
from ruri_kedro.models.saved import SavedModel


def test_pooling_is_the_models_own(tmp_path):
    """ru-en-RoSBERTa pools by its first token, Ruri by the mean."""
    encoder = tiny_encoder()
    pooling = Pooling(encoder.get_embedding_dimension(), pooling_mode="cls")
    SentenceTransformer(modules=[encoder[0], pooling], device="cpu").save_pretrained(str(tmp_path / "cls"))
    encoder.save_pretrained(str(tmp_path / "mean"))
    vectors = {}
    for name in ("cls", "mean"):
        model = SavedModel.of(str(tmp_path / name), device="cpu")
        vectors[name] = model.encode(TEXTS[:4], "クエリ: ", 512, 256)
        reference = SentenceTransformer(str(tmp_path / name), device="cpu")
        expected = reference.encode(TEXTS[:4], prompt="クエリ: ", normalize_embeddings=True)
        assert np.allclose(vectors[name], expected, atol=1e-5)
    assert not np.allclose(vectors["cls"], vectors["mean"], atol=1e-2)


def test_names_and_revisions(tmp_path):
    tiny_encoder().save_pretrained(str(tmp_path / "model"))
    local = SavedModel.of(str(tmp_path / "model"))
    assert local.name == "local/model"
    assert local.revision == SavedModel.of(str(tmp_path / "model"), name="models/x").revision
    hub = SavedModel.of("owner/model@0123abcd")
    assert (hub.name, hub.revision, hub.source) == ("owner/model", "0123abcd", "owner/model")
    for wrong in ("owner/model", "model@main", "missing/folder/model"):
        with pytest.raises(RecipeError, match="no folder of this name"):
            SavedModel.of(wrong)


def test_a_folder_that_is_no_model_is_named(tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(RecipeError, match=r"empty' cannot be loaded"):
        _ = SavedModel.of(str(tmp_path / "empty"), device="cpu").model
