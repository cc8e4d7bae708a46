"""Where a model comes from, and where a text has gone."""
