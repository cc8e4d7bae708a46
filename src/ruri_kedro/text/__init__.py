"""Strings in, strings out: normalisation, sentences, prompts, stable hashes."""
