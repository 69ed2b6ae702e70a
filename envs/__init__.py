"""Worlds, tasks, episodes, stores, behaviours."""
