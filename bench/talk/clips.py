"""Clips of people who speak: which are fit to measure speech on, their sound, tracked mouth and phones."""

from __future__ import annotations

import contextlib
import hashlib
import json
import math
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from animate.errors import FaceError, MienError
from animate.faces import FaceTrack, FaceTracker
from animate.media import probe
from animate.motion import Motion
from bench.clips import Clip
from bench.metrics.closures_met import own_lag
from bench.metrics.speech import MouthCurves, SpeechTruth, aligner_missing
from bench.metrics.speech_correlation import MAX_LAG
from bench.tables import write_whole
from talking_face.audio import stream_audio
from talking_face.features import ENERGY, SAMPLE_RATE, VOICING, audio_features
from talking_face.phones import SILENCE, Phone

QUIET = -50.0
"""dBFS of the loudest second below which a sound counts as silent."""

LOUD = -0.75
"""Energy feature from which a row counts as loud: 15 dB under the running level."""

MOST_LOUD = 0.8
"""Share of loud rows from which nobody speaks: speech, full of gaps, has 0.25 to 0.65, music and noise 0.85 to 1."""

LEAST_VOICED = 0.08
"""Share of the loud rows with a pitch below which nobody speaks. Speech has 0.1 (hoarse) to 0.9."""

LEAST_SECONDS = 1.0
"""A shorter clip has no word to measure on."""


class LeftOut(MienError):
    """A clip is not fit to measure speech on; the sentence says why."""


@dataclass(frozen=True)
class SpeechClip:
    """A clip and what its own face and sound do.

    Attributes:
        clip: the video.
        sound: (N,) float32 at 16 kHz from the first frame to the end of the last; zeros where there is none.
        truth: tracked mouth, counted frames, phones.
        bridged: frames without a face.
        loud, voiced: share of the sound that is loud, and of that the share with a pitch (`speech_shares`).
    """

    clip: Clip
    sound: np.ndarray = field(repr=False)
    truth: SpeechTruth = field(repr=False)
    bridged: int = 0
    loud: float = 0.0
    voiced: float = 0.0

    @property
    def seconds(self) -> float:
        """Length of the picture."""
        return float(len(self.truth.curves) / self.truth.curves.fps)

    @property
    def own_lag(self) -> int | None:
        """Frames by which the picture seems to come after its own sound (`bench.metrics.closures_met.own_lag`)."""
        return own_lag(self.truth, MAX_LAG)


def prepare(
    clip: Clip, tracker: FaceTracker, max_seconds: float, cache: Path | None = None, any_sound: bool = False
) -> SpeechClip:
    """Read a clip's sound, track its face and align its phones; what is quick to find out comes first.

    Args:
        clip: the video.
        tracker: finds the face.
        max_seconds: only so much of the clip is used.
        cache: folder in which tracks and phones are kept for the next run.
        any_sound: take clips, too, whose sound does not look like speech.

    Raises:
        LeftOut: no sound, a silent one, no speech, or no face.
        MediaError: the file cannot be read.
    """
    info = probe(clip.path)
    if not info.has_audio:
        raise LeftOut("it has no sound.")
    clip = replace(clip, max_frames=max(1, math.ceil(max_seconds * info.fps)))
    sound = sound_of_picture(clip.path, max_seconds)
    if len(sound) < LEAST_SECONDS * SAMPLE_RATE:
        raise LeftOut(f"its sound is shorter than {LEAST_SECONDS:g} s.")
    level = loudest_second(sound)
    if level < QUIET:
        raise LeftOut(f"its sound is silent ({level:.0f} dBFS in the loudest second).")
    loud, voiced = speech_shares(sound)
    if not any_sound and (loud >= MOST_LOUD or voiced < LEAST_VOICED):
        raise LeftOut(f"nobody seems to speak in it (loud {loud:.0%} of the time, voiced {voiced:.0%} of that).")
    phones = None if aligner_missing() else _phones(clip, sound, cache)
    if not any_sound and phones is not None and all(phone.name == SILENCE for phone in phones):
        raise LeftOut("nobody speaks in it (no word was recognised).")
    track = _track(clip, tracker, cache)
    return SpeechClip(
        clip=clip,
        sound=fitted(sound, round(len(track) * SAMPLE_RATE / track.fps)),
        truth=speech_truth(track, len(sound), phones),
        bridged=track.bridged,
        loud=loud,
        voiced=voiced,
    )


def speech_truth(track: FaceTrack, samples: int, phones: list[Phone] | None) -> SpeechTruth:
    """The curves of a tracked face whose sound has so many samples at 16 kHz."""
    sounding = np.arange(len(track)) <= math.floor(samples * track.fps / SAMPLE_RATE)
    return SpeechTruth(MouthCurves.of_track(Motion.from_track(track)), track.valid & sounding, phones)


def sound_of_picture(path: Path, seconds: float) -> np.ndarray:
    """A video's sound from the time of its first frame on, (N,) mono float32 at 16 kHz, at most `seconds` of it.

    Raises:
        MediaError: there is no sound, or it cannot be decoded.
    """
    info = probe(path)
    # The sound's time zero is the container's, where the picture need not begin.
    before = max(round((info.start - info.container_start) * SAMPLE_RATE), 0)
    wanted = before + round(seconds * SAMPLE_RATE)
    blocks: list[np.ndarray] = []
    with contextlib.closing(stream_audio(path)) as stream:
        for block in stream:
            blocks.append(block)
            if sum(map(len, blocks)) >= wanted:
                break
    return np.concatenate(blocks)[before:wanted]


def fitted(sound: np.ndarray, samples: int) -> np.ndarray:
    """A sound cut, or filled with zeros, to a number of samples."""
    return np.pad(sound[:samples], (0, max(samples - len(sound), 0)))


def loudest_second(sound: np.ndarray) -> float:
    """Level of the loudest second (half seconds apart) in dBFS, -120 for digital silence."""
    power = np.add.reduceat(sound.astype(np.float64) ** 2, np.arange(0, len(sound), SAMPLE_RATE // 2))
    pairs = power[:-1] + power[1:] if len(power) > 1 else power
    return float(10 * np.log10(pairs.max(initial=0) / SAMPLE_RATE + 1e-12))


def speech_shares(sound: np.ndarray) -> tuple[float, float]:
    """Share of a sound's rows that are loud for it, and share of these that have a pitch; (0, 0) for silence."""
    features = audio_features(sound)
    loud = features[:, ENERGY] > LOUD
    return float(loud.mean()), float((features[loud, VOICING] > 0).mean()) if loud.any() else 0.0


def _track(clip: Clip, tracker: FaceTracker, cache: Path | None) -> FaceTrack:
    from safetensors.numpy import load_file, save

    kept = _kept(clip, cache, "track.safetensors")
    if kept is not None and kept.is_file():
        tensors = load_file(kept)
        size = tuple(int(side) for side in tensors["size"])
        return FaceTrack(tensors["landmarks"], tensors["valid"].astype(bool), clip.fps, size)
    try:
        track = tracker.track(clip.frames(), clip.fps, max_faces=1, name=clip.name)[0]
    except FaceError as error:
        raise LeftOut("no frame of it shows a face.") from error
    if kept is not None:
        size = np.array(track.size, np.int64)
        write_whole(kept, save({"landmarks": track.landmarks, "valid": track.valid.astype(np.uint8), "size": size}))
    return track


def _phones(clip: Clip, sound: np.ndarray, cache: Path | None) -> list[Phone]:
    from talking_face.alignment import align_speech

    kept = _kept(clip, cache, "phones.json")
    if kept is not None and kept.is_file():
        return [Phone(*row) for row in json.loads(kept.read_text(encoding="utf-8"))]
    phones = align_speech(sound)
    if kept is not None:
        write_whole(kept, json.dumps([phone.row() for phone in phones]).encode())
    return phones


def _kept(clip: Clip, cache: Path | None, ending: str) -> Path | None:
    """Where a result of this very file and length is kept."""
    if cache is None:
        return None
    status = clip.path.stat()
    identity = f"{clip.name} {status.st_size} {status.st_mtime_ns} {clip.max_frames}"
    digest = hashlib.sha256(identity.encode()).hexdigest()[:12]
    return cache / f"{clip.name.replace('/', '__')}.{digest}.{ending}"
