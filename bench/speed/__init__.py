"""Speed and memory of the small model: ``python -m bench.speed``."""
