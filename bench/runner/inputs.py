"""A case's inputs as files, for programs and for systems that run elsewhere: a PNG, an MP4, a WAV."""

from __future__ import annotations

import wave
from collections.abc import Collection, Iterator
from pathlib import Path

import numpy as np

from animate.media import VideoWriter, write_image
from bench.runner.scene import SAMPLE_RATE, Scene

CRF = 4
"""Of the drivers that are written: no difference is seen."""


def write_inputs(scene: Scene, folder: Path, wanted: Collection[str] | None = None) -> dict[str, str]:
    """Write what a case has of portrait, driver and audio; frame n of the driver is what output frame n should show.

    Several drivers stand side by side in one video, in the order of the faces from left to right.

    Args:
        scene: the case.
        folder: made when it is not there.
        wanted: names of what to write; None for everything.

    Returns:
        Name -> path or word: portrait, driver, audio, case, fps, frames, prompt; without those that the case has not.
    """
    folder.mkdir(parents=True, exist_ok=True)
    values = {"case": scene.case.id, "fps": str(scene.fps), "frames": str(scene.count)}
    if scene.case.options.get("prompt"):
        values["prompt"] = str(scene.case.options["prompt"])
    if scene.portrait is not None:
        values["portrait"] = str(folder / "portrait.png")
        if wanted is None or "portrait" in wanted:
            write_image(folder / "portrait.png", scene.portrait.image)
    if scene.actors:
        values["driver"] = str(folder / "driver.mp4")
        if wanted is None or "driver" in wanted:
            with VideoWriter(folder / "driver.mp4", scene.fps, crf=CRF) as writer:
                for frame in _drivers(scene):
                    writer.write(frame)
    if scene.sound is not None:
        values["audio"] = str(folder / "audio.wav")
        if wanted is None or "audio" in wanted:
            write_sound(folder / "audio.wav", scene.sound)
    return values


def write_sound(path: Path, sound: np.ndarray) -> None:
    """(N,) float32 in [-1, 1] at 16 kHz as a 16-bit WAV."""
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(SAMPLE_RATE)
        file.writeframes((np.clip(sound, -1, 1) * 32767).round().astype("<i2").tobytes())


def _drivers(scene: Scene) -> Iterator[np.ndarray]:
    clips = list({id(actor.clip): actor.clip for actor in scene.actors}.values())
    height = min(clip.track.size[1] for clip in clips) // 2 * 2
    scaled = [clip.scaled(height) for clip in clips] if len(clips) > 1 else clips
    return (np.hstack(frames) for frames in zip(*(clip.frames() for clip in scaled), strict=True))
