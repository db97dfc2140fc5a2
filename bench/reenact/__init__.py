"""Self-reenactment: ``python -m bench.reenact``."""
