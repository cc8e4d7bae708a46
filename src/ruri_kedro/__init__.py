"""ruri-kedro: Japanese general text embeddings as Kedro pipelines."""

__version__ = "0.1.0"
