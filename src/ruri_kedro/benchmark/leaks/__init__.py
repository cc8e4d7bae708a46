"""Training texts that are those of a test."""
