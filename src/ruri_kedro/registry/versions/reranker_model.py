"""The reranker as MLflow runs it: a "model from code", executed by MLflow and imported by nobody.

It is served where this package need not be installed, so it uses nothing of it.
"""

import hashlib
import json
from pathlib import Path
from typing import Any

import mlflow


class Reranker(mlflow.pyfunc.PythonModel):
    """A CrossEncoder behind the pyfunc interface."""

    def load_context(self, context: Any) -> None:
        """Load the model from its artifact folder; RuntimeError where a file is not as it was registered."""
        from sentence_transformers import CrossEncoder

        folder = Path(context.artifacts["model"])
        _check(folder.parents[1])
        self.model = CrossEncoder(str(folder), trust_remote_code=False, model_kwargs={"use_safetensors": True})

    def predict(self, context: Any, model_input, params: dict | None = None):
        """Scores, one per row of a frame with columns query and passage; higher is more relevant."""
        pairs = list(zip(model_input["query"], model_input["passage"], strict=True))
        return self.model.predict(pairs)


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


mlflow.models.set_model(Reranker())
