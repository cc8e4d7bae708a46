"""mteb's benchmarks: its tasks, its scores, its reports."""
