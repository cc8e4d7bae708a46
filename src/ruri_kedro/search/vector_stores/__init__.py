"""Vectors, texts and ids for the engines that people search with: files, loading, and a check of what they find."""
