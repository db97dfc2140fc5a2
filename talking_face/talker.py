"""Talker: speech in, a Motion out.

    motion = Talker.from_pretrained("mini").motion("speech.wav", fps=25)

Whatever the way in (a whole file, blocks of a long one, a live stream), every frame is the same local function of the
sound, so the frames agree; a live stream only decodes pitch in smaller groups.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import numpy as np

from animate import topology as mesh
from animate.errors import OptionError
from animate.motion import Motion
from talking_face.basis import LowerFaceBasis
from talking_face.curves import RATE, FaceCurves
from talking_face.emotion import emotion_of
from talking_face.features import ENERGY, FILE_GROUP, LIVE_GROUP, SAMPLE_RATE, FeatureStream
from talking_face.features import LOOK_AHEAD as HEARING
from weights.errors import WeightsError

METHODS = ("mini", "viseme", "loudness", "mean")
STYLES = {"calm": -1.0, "neutral": 0.0, "lively": 1.0}
EMBEDDED = mesh.FACE_MESH_FILE.with_name("talk")
BLOCK = 10  # seconds of a long sound that are worked on together
#: The loudness baseline: dB under the running level at which the mouth is shut, and how far it opens at the level, in
#: IOD.
LOUDNESS_SPAN, LOUDNESS_OPENING = 30.0, 0.2


@dataclass(frozen=True)
class TalkOptions:
    """How a sound is acted.

    mouth: strength of the lower face, 0 to 3; lips that meet still meet. head_motion: 0 (the head stays) to 1 (lively).
    emotion: a name of `emotion.EMOTIONS`. style: one of STYLES, or -1 (calm) to 1 (lively).
    seed: of blinks, gaze and head.
    Raises OptionError for anything else.
    """

    mouth: float = 1.0
    head_motion: float = 0.5
    emotion: str = "neutral"
    style: str | float = "neutral"
    blinks: bool = True
    seed: int = 0

    def __post_init__(self) -> None:
        if not 0 <= self.mouth <= 3:
            raise OptionError(f"The mouth's strength is {self.mouth:g}: it must lie between 0 and 3.")
        if not 0 <= self.head_motion <= 1:
            raise OptionError(f"The head motion is {self.head_motion:g}: it must lie between 0 (none) and 1 (lively).")
        emotion_of(self.emotion)
        if self.seed < 0:
            raise OptionError(f"The seed is {self.seed}: it must be 0 or more.")
        self.liveliness  # noqa: B018 (raises for an unknown style)

    @property
    def liveliness(self) -> float:
        """The style as a number from -1 to 1."""
        if self.style in STYLES:
            return STYLES[self.style]
        try:
            value = float(self.style)
        except ValueError:
            value = float("nan")
        if not -1 <= value <= 1:
            raise OptionError(f"Unknown style '{self.style}': choose {', '.join(STYLES)} or a number from -1 to 1.")
        return value


class Talker:
    """Turns speech into the motion of a face.

    method: "mini" (the network), or what it is measured against: "viseme" (phones recognised by pocketsphinx, then
    the viseme model), "loudness" (a jaw that follows the loudness), "mean" (a face that does not move its mouth).
    """

    def __init__(self, basis: LowerFaceBasis, network=None, method: str = "mini"):
        if method not in METHODS:
            raise OptionError(f"Unknown method '{method}': choose one of {', '.join(METHODS)}.")
        self.basis, self.network, self.method = basis, network, method

    @classmethod
    def from_pretrained(cls, name_or_folder: str | Path = "mini", method: str = "mini", device: str = "cpu") -> Talker:
        """The embedded "mini", or a folder with basis.safetensors and AudioToExpression.

        Raises WeightsError where the folder is not there or holds something else, OptionError for a device that cannot
        be used here.
        """
        folder = EMBEDDED if str(name_or_folder) == "mini" else Path(name_or_folder)
        if not (folder / "basis.safetensors").is_file():
            raise WeightsError(
                f"There is no speech model in {folder}: give 'mini' or a folder that talking_face.export wrote."
            )
        basis = LowerFaceBasis.load(folder / "basis.safetensors")
        network = None
        if method == "mini":
            from animate.device import check_device
            from animate.loading import undisturbed
            from talking_face.model import AudioToExpression

            place = check_device(device)
            try:
                with undisturbed():
                    network = AudioToExpression.from_pretrained(folder, low_cpu_mem_usage=False)
                network = network.float().to(place).eval()
            except (OSError, ValueError, RuntimeError) as error:
                raise WeightsError(f"The speech model in {folder} cannot be read: {error}.") from error
            if network.config.coefficients != len(basis):
                raise WeightsError(f"The speech model in {folder} does not fit its basis.")
        return cls(basis, network, method)

    @property
    def look_ahead(self) -> float:
        """Seconds of sound after a frame that the frame depends on."""
        from talking_face.dress import LOOK_AHEAD

        own = self.network.look_ahead if self.network is not None else 0
        return HEARING + own / RATE + LOOK_AHEAD

    def motion(
        self,
        audio: str | Path | np.ndarray,
        fps: Fraction | float = 25,
        options: TalkOptions | None = None,
        rate: int | None = None,
    ) -> Motion:
        """The whole motion of a sound, max(1, round(seconds * fps)) frames, frame n at exactly n / fps seconds.

        audio: a file with sound (any audio or video), or samples (N,) or (N, channels) at `rate` Hz (16,000 if None).
        Raises MediaError for a file without sound, OptionError for a rate that is not positive.
        """
        return Motion.whole(list(self.motions(audio, fps, options, rate)))

    def motions(
        self,
        audio: str | Path | np.ndarray | Iterable[np.ndarray],
        fps: Fraction | float = 25,
        options: TalkOptions | None = None,
        rate: int | None = None,
    ) -> Iterator[Motion]:
        """The same frames as `motion`, in consecutive stretches: an hour needs no more memory than a minute.

        audio: as there, or an iterable of blocks (n,) float32 at 16,000 Hz.
        """
        from talking_face.audio import load_audio, stream_audio

        if isinstance(audio, str | Path):
            blocks = stream_audio(audio, BLOCK)
        elif isinstance(audio, np.ndarray):
            sound = load_audio(audio, rate or SAMPLE_RATE)
            blocks = (sound[i : i + BLOCK * SAMPLE_RATE] for i in range(0, max(1, len(sound)), BLOCK * SAMPLE_RATE))
        else:
            blocks = iter(audio)
        if self.method == "viseme":
            yield _from_phones(self, np.concatenate(list(blocks)), Fraction(fps), options or TalkOptions())
            return
        stream = TalkStream(self, Fraction(fps), options or TalkOptions(), FILE_GROUP)
        for block in blocks:
            part = stream.push(block)
            if part is not None:
                yield part
        part = stream.finish()
        if part is not None:
            yield part

    def stream(self, fps: Fraction | float = 25, options: TalkOptions | None = None) -> TalkStream:
        """For live sound: `push` samples, get frames as soon as `look_ahead` allows."""
        if self.method == "viseme":
            raise OptionError("The viseme method needs the whole sound: it cannot stream.")
        return TalkStream(self, Fraction(fps), options or TalkOptions(), LIVE_GROUP)

    def curves(self, features: np.ndarray, start: int, options: TalkOptions) -> FaceCurves:
        """What the method says for features (n, C), whose first row has the absolute index `start`."""
        if self.method == "mini":
            return self._ask(features, start, options)
        count = len(features)
        opening = np.zeros(count, np.float32)
        if self.method == "loudness":
            opening = LOUDNESS_OPENING * np.clip(features[:, ENERGY] * 20 / LOUDNESS_SPAN + 1, 0, 1)
        row = self.basis.opening  # the least effort that opens the mouth by one IOD is row / |row|^2
        coefficients = (opening[:, None] * (row / (row @ row))).astype(np.float32)
        return FaceCurves(coefficients, np.zeros(count, np.float32), opening.astype(np.float32), features, start)

    def _ask(self, features: np.ndarray, start: int, options: TalkOptions) -> FaceCurves:
        import torch

        config = self.network.config
        style = torch.zeros(1, config.style)
        style[0, 0] = 1.5 * options.liveliness
        device = next(self.network.parameters()).device
        with torch.inference_mode():
            out = self.network(torch.from_numpy(features)[None].to(device), style.to(device))
        coefficients = out["coefficients"][0].cpu().numpy() * config.gain
        closure = torch.sigmoid(out["closure"][0]).cpu().numpy()
        return FaceCurves(coefficients, closure, out["jaw"][0].cpu().numpy() * config.gain, features, start)


class TalkStream:
    """Sound in, pieces of motion out, with bounded memory. Made by `Talker.stream`."""

    def __init__(self, talker: Talker, fps: Fraction, options: TalkOptions, group: int):
        if fps <= 0:
            raise OptionError(f"The frame rate must be more than 0, not {fps}.")
        self.talker, self.fps, self.options = talker, fps, options
        network = talker.network
        self._back, self._ahead = (network.reach, network.look_ahead) if network is not None else (0, 0)
        self._features = FeatureStream(group)
        self._rows = np.zeros((0, 0), np.float32)  # features that the network still needs
        self._first = 0  # absolute index of the first of them
        self._done = 0  # rows that have become curves
        self._curves: FaceCurves | None = None
        self._frames = 0  # frames handed out
        self._samples = 0

    def push(self, samples: np.ndarray) -> Motion | None:
        """Take (n,) float32 samples at 16,000 Hz; returns the frames that are now final, or None."""
        self._samples += len(samples)
        return self._advance(self._features.push(samples), last=False)

    def finish(self) -> Motion | None:
        """The sound has ended: the frames that are left, or None."""
        return self._advance(self._features.finish(), last=True)

    def _advance(self, fresh: np.ndarray, last: bool) -> Motion | None:
        from talking_face.dress import LOOK_AHEAD, PAST, dress

        self._rows = np.concatenate([self._rows, fresh]) if len(self._rows) else fresh
        known = self._first + len(self._rows)
        ready = known if last else known - self._ahead
        if ready > self._done:
            said = self.talker.curves(self._rows, self._first, self.options).take(self._done, ready)
            self._curves = said if self._curves is None else _append(self._curves, said)
            self._done = ready
            keep = max(self._first, self._done - self._back)
            self._rows, self._first = self._rows[keep - self._first :], keep
        total = frame_count(self._samples, self.fps)
        if last:
            end = total
        else:
            # The last row that exists must lie LOOK_AHEAD after the frame; never more frames than the sound has so far.
            end = min(
                total - 1,
                int((Fraction(self._done - 1, RATE) - Fraction(LOOK_AHEAD).limit_denominator(1000)) * self.fps) + 1,
            )
        if end <= self._frames or self._curves is None:
            return None
        part = dress(self._curves, self.talker.basis, self.fps, self._frames, end - self._frames, self.options)
        self._frames = end
        oldest = int((Fraction(end) / self.fps - Fraction(PAST).limit_denominator(1000)) * RATE) - 2
        self._curves = self._curves.take(max(self._curves.start, oldest), self._done)
        return part


def _append(first: FaceCurves, second: FaceCurves) -> FaceCurves:
    names = ("coefficients", "closure", "jaw", "features")
    return FaceCurves(*(np.concatenate([getattr(first, n), getattr(second, n)]) for n in names), start=first.start)


def frame_count(samples: int, fps: Fraction) -> int:
    """Frames that `samples` at 16,000 Hz give: the nearest whole number, at least one."""
    return max(1, round(samples * fps / SAMPLE_RATE))


def _from_phones(talker: Talker, sound: np.ndarray, fps: Fraction, options: TalkOptions) -> Motion:
    """The viseme baseline: recognised phones through the viseme model, then dressed like any other curves."""
    from talking_face.alignment import align_speech
    from talking_face.dress import dress
    from talking_face.features import audio_features
    from talking_face.visemes import VisemeModel

    features = audio_features(sound)
    coefficients, closure = VisemeModel.load().curves(align_speech(sound), len(features))
    jaw = np.maximum(coefficients @ talker.basis.opening, 0)
    curves = FaceCurves(coefficients, closure, jaw.astype(np.float32), features)
    return dress(curves, talker.basis, fps, 0, frame_count(len(sound), fps), options)
