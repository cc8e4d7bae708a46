"""The reranker as MLflow runs it: a "model from code", executed by MLflow and imported by nobody."""

from typing import Any

import mlflow


class Reranker(mlflow.pyfunc.PythonModel):
    """A CrossEncoder behind the pyfunc interface."""

    def load_context(self, context: Any) -> None:
        """Load the model from its artifact folder."""
        from sentence_transformers import CrossEncoder

        self.model = CrossEncoder(context.artifacts["model"])

    def predict(self, context: Any, model_input, params: dict | None = None):
        """Scores, one per row of a frame with columns query and passage; higher is more relevant."""
        pairs = list(zip(model_input["query"], model_input["passage"], strict=True))
        return self.model.predict(pairs)


mlflow.models.set_model(Reranker())
