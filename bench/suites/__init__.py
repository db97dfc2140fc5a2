"""Suites: which cases a benchmark has, and how one is made of a folder of media."""
