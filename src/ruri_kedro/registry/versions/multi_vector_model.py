"""A multi-vector model as MLflow runs it: a "model from code", executed by MLflow and imported by nobody.

It is served where this package need not be installed, so it uses nothing of it.
"""

import hashlib
import json
from pathlib import Path
from typing import Any

import mlflow


class MultiVector(mlflow.pyfunc.PythonModel):
    """A MultiVectorEncoder behind the pyfunc interface."""

    def load_context(self, context: Any) -> None:
        """Load the model from its artifact folder; RuntimeError where a file is not as it was registered."""
        from sentence_transformers import MultiVectorEncoder

        folder = Path(context.artifacts["model"])
        _check(folder.parents[1])
        self.model = MultiVectorEncoder(str(folder), trust_remote_code=False, model_kwargs={"use_safetensors": True})

    def predict(self, context: Any, model_input, params: dict | None = None):
        """Vectors of the tokens of texts, or with {"task": "rerank", "query": ...} their scores for a query."""
        params = params or {}
        texts, task = [str(text) for text in _column(model_input)], params.get("task", "document")
        if task == "rerank":
            return self.rerank(params["query"], texts)
        return [vectors.tolist() for vectors in self.encode(texts, task)]

    def encode(self, texts: list[str], task: str = "document") -> list:
        """The vectors of the tokens of each text, (tokens, dimensions); task: document or query."""
        encode = {"document": self.model.encode_document, "query": self.model.encode_query}
        if task not in encode:
            raise ValueError(f"task: {task!r} is given. Allowed: document, query, rerank.")
        return encode[task](texts, convert_to_numpy=True)

    def rerank(self, query: str, texts: list[str]):
        """Scores of texts for a query, in their order; higher is more relevant."""
        scores = self.model.similarity(self.encode([query], "query"), self.encode(texts))
        return scores[0].cpu().numpy()


def _column(model_input) -> list:
    """The texts of a list, a Series or a frame of one column."""
    if hasattr(model_input, "columns"):
        return model_input.iloc[:, 0].tolist()
    return list(model_input)


def _check(root: Path) -> None:
    """Compare the files of the model with its manifest, which is logged after the model itself."""
    manifest = root / "evidence/manifest.json"
    if not manifest.is_file():
        return
    for name, entry in json.loads(manifest.read_text("utf-8"))["files"].items():
        path = root / name
        if name.startswith("artifacts/"):
            with path.open("rb") as handle:
                found = hashlib.file_digest(handle, "sha256").hexdigest()
            if found != entry["sha256"]:
                raise RuntimeError(f"{path} is not as it was registered: SHA-256 {found}, not {entry['sha256']}.")


mlflow.models.set_model(MultiVector())
