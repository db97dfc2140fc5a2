"""Numbers of the published networks, checked: ``python -m bench.golden``."""
