"""ruri-kedro: Japanese general text embeddings as Kedro pipelines."""

__version__ = "0.2.0"
