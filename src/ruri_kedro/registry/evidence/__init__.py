"""What a registered model can show: data, scores, contamination, a trial."""
