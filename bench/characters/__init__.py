"""Several faces of one picture, each with its own driver: ``python -m bench.characters``."""
