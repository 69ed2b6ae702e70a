"""Tasks, runs, intervals, latency, report."""
