"""Systems under test: this project's own, a folder of finished videos, any program."""
