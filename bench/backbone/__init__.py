"""Speed and memory of the full-size backbone: ``python -m bench.backbone``."""
