"""Runs of MLflow: what they log, how they end, what is mended when one has died."""
