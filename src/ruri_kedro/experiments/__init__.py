"""Ablations: cells, their steps, and the tables made of their scores."""
