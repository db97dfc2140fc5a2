"""Speech to mouth on clips of people who speak: ``python -m bench.talk``."""
