"""Runs: a suite's cases made by every system, measured alike, kept so that they can be resumed."""
