"""The pipelines: in each, nodes.py holds thin functions and pipeline.py the wiring."""
