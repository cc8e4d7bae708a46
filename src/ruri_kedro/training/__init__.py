"""Batch plan, losses, gradient cache, fit, checkpoints: one loop for all stages."""
