"""Public corpora from their homes into the shapes that the recipes read: `python -m ruri_kedro.corpora.fetch mini`."""
