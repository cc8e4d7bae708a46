"""From a model and a task to runs, metrics and scores by query."""
