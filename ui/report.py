"""What a run did: one paragraph for a person, the same facts as JSON for a program."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any

from animate.provenance import mien_version

SCHEMA_VERSION = 1


@dataclass
class RunReport:
    """The facts of one `mien animate`, `mien talk` or `mien dub`.

    command: which of them. driving: what gave the movement: a video, a motion, or the sound with the speech.
    seconds: time per stage in the order they ran; the animator's own stages stand in `animation_seconds`.
    bridged_frames: frame numbers (from 0) that had no face and were interpolated; `mien dub` leaves them as they are.
    cast: of several faces, one entry a driver: which face it moved and how it was made to fit.
    cache: which denoising steps were computed and which forecast, with `--cache`; else empty.
    provenance: what the output says of where it comes from, and who signed that.
    options: every option in the command line's words, to be replayed with `--config`; paths are relative to the folder
        that the report lies in, absolute where it lies in none.
    notes: sentences about everything that was skipped, replaced or may surprise.
    """

    source: str
    driving: str
    output: str
    command: str = "animate"
    model: str = "mini"
    method: str = "mini"
    seed: int = 0
    frames: int = 0
    fps: str = ""
    width: int = 0
    height: int = 0
    sound: str = "none"
    bridged_frames: list[int] = field(default_factory=list)
    seconds: dict[str, float] = field(default_factory=dict)
    animation_seconds: dict[str, float] = field(default_factory=dict)
    peak_memory_mb: float | None = None
    cast: list[dict[str, Any]] = field(default_factory=list)
    cache: dict[str, Any] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    provenance: dict[str, Any] = field(default_factory=dict)
    options: dict[str, Any] = field(default_factory=dict)

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Adds the time that the block takes to the stage."""
        start = time.perf_counter()
        try:
            yield
        finally:
            self.seconds[name] = self.seconds.get(name, 0.0) + time.perf_counter() - start

    def note(self, sentence: str) -> None:
        """Says a thing once, however often it happened."""
        if sentence not in self.notes:
            self.notes.append(sentence)

    @property
    def total_seconds(self) -> float:
        return sum(self.seconds.values())

    @property
    def frames_per_second(self) -> float:
        """Frames over the whole run's time, loading included."""
        return self.frames / self.total_seconds if self.total_seconds else 0.0

    def as_dict(self) -> dict[str, Any]:
        """JSON-ready; stable keys, `schema` counts up when one changes its meaning."""
        return {
            "schema": SCHEMA_VERSION,
            "mien": mien_version(),
            **asdict(self),
            "seconds": {name: round(value, 3) for name, value in self.seconds.items()},
            "bridged": len(self.bridged_frames),
            "total_seconds": round(self.total_seconds, 3),
            "frames_per_second": round(self.frames_per_second, 3),
        }

    def write(self, path: Path) -> None:
        """Writes the JSON atomically."""
        from .paths import write_text_atomically

        write_text_atomically(path, json.dumps(self.as_dict(), indent=2, ensure_ascii=False) + "\n")

    def paragraph(self) -> str:
        """One paragraph in plain English."""
        rate = f"{float(Fraction(self.fps)):.6g}" if self.fps else "?"
        sound = "no sound" if self.sound == "none" else f"sound {self.sound}"
        noun = "frame" if self.frames == 1 else "frames"
        sentences = [
            f"{self.output}: {self.frames} {noun} of {self.width}×{self.height} at {rate} frames/s, {sound}.",
            *self._bridged_sentence(),
            f"It took {self.total_seconds:.1f} s ({self.frames_per_second:.1f} frames/s): {self._stages()}.",
            *self.notes,
        ]
        return " ".join(sentences)

    def _stages(self) -> str:
        parts = []
        for name, seconds in self.seconds.items():
            text = f"{name} {seconds:.1f} s"
            if name == "animation" and self.animation_seconds:
                inner = ", ".join(f"{key} {value:.1f}" for key, value in self.animation_seconds.items())
                text += f" ({inner})"
            parts.append(text)
        return ", ".join(parts)

    def _bridged_sentence(self) -> list[str]:
        if not self.bridged_frames:
            return [] if self.command == "talk" else ["Every frame had a face."]
        noun = "frame" if len(self.bridged_frames) == 1 else "frames"
        what = f"{len(self.bridged_frames)} {noun} without a face ({ranges(self.bridged_frames)})"
        return [f"{what} stayed as they are." if self.command == "dub" else f"{what} were bridged."]


def ranges(numbers: list[int], most: int = 8) -> str:
    """Sorted whole numbers as short text: "3-7, 12"; after `most` pieces an ellipsis."""
    pieces: list[list[int]] = []
    for number in numbers:
        if pieces and number == pieces[-1][1] + 1:
            pieces[-1][1] = number
        else:
            pieces.append([number, number])
    texts = [str(first) if first == last else f"{first}-{last}" for first, last in pieces]
    return ", ".join(texts[:most]) + (", …" if len(texts) > most else "")


def peak_memory_mb() -> float | None:
    """Largest resident memory of this process so far, in MiB; None where the system does not tell."""
    try:
        import resource
    except ImportError:  # Windows
        return None
    import sys

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return round(peak / (1024**2 if sys.platform == "darwin" else 1024), 1)
