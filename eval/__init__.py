"""Tasks, episodes, latency, explanations, and what people look at. Each room has its own face."""
