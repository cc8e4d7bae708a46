"""Benchmark tasks, per-query metrics, contamination of training pairs, and reports."""
