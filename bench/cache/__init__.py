"""The feature cache against everything else that saves evaluations: ``python -m bench.cache``."""
