"""What the shell offers for the value of an option or argument; light, so that Tab answers at once."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

Complete = Callable[[str], list[str]]


def words(*known: str) -> Complete:
    """Those of the words that begin like what is typed; of none of them the shell goes on to files."""

    def complete(incomplete: str) -> list[str]:
        return [word for word in known if word.startswith(incomplete)]

    return complete


def motions(incomplete: str) -> list[str]:
    """Built-in motions."""
    import animate

    folder = Path(animate.__file__).parent / "motions"
    return words(*sorted(path.stem for path in folder.glob("*.safetensors")))(incomplete)


def suites(incomplete: str) -> list[str]:
    """Built-in suites."""
    from bench.suites.manifest import PROTOCOLS

    return words(*PROTOCOLS)(incomplete)


def weights(incomplete: str) -> list[str]:
    """Names of `mien weights list`."""
    from weights.registry import RECORDS

    return words(*(record.name for record in RECORDS))(incomplete)


codecs = words("auto", "h264", "vp9", "prores", "png", "gif")
trackers = words("auto", "mediapipe", "mediapipe-tasks", "insightface", "face-alignment")
people = words("largest", "left", "right")
models = words("mini", "follow-your-emoji", "fantasy-portrait")
devices = words("cpu", "cuda")
