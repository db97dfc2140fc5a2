"""Frames and sound into a file, streaming; the file appears under its name only when it is complete."""

import subprocess
import tempfile
from collections.abc import Mapping
from fractions import Fraction
from pathlib import Path

import numpy as np

from animate import ffmpeg, outputs
from animate.errors import MediaError, OptionError
from animate.frame_rate import exact_rate
from animate.probe import NOT_VIDEO, SoundInfo, check_input, parse_banner, probe, sound_of
from animate.provenance import Provenance, embed
from animate.signing import Credential, sign

# container -> (sound that it carries as it is, encoder for any other)
SOUND_CODECS = {
    "mp4": (("aac", "mp3", "ac3", "eac3", "alac"), "aac"),
    "mov": (("aac", "mp3", "ac3", "eac3", "alac", "pcm_s16le", "pcm_s24le"), "aac"),
    "matroska": (("aac", "mp3", "mp2", "ac3", "eac3", "alac", "opus", "vorbis", "flac", "pcm_s16le"), "aac"),
    "webm": (("opus", "vorbis"), "libopus"),
}
# samples in one packet: the last packet that would outlast the picture is left out
PACKET_SAMPLES = {"aac": 1024, "mp3": 1152, "mp2": 1152, "ac3": 1536, "eac3": 1536, "alac": 4096, "opus": 960}
MAX_CRF = {"h264": 51, "vp9": 63}
GIF_MAX_RATE = Fraction(50)  # browsers slow down what is shown for less than 2/100 s


class VideoWriter:
    """Write frames to a video file (or a folder of PNG files) at an exact rational rate.

    Frames are (H, W, 3) or (H, W, 4) uint8 RGB(A), all of one size. The work goes to a hidden folder beside
    the target and is moved into place by `close`; an exception inside the `with` block, `abort`, or a killed
    process leaves nothing under the final name. H.264 is yuv420p, tagged and converted as BT.709; it has no
    odd sizes, so the last column or row is repeated once where needed: no pixel of the frames is lost. VP9,
    ProRes 4444, PNG and GIF keep odd sizes.

    Args:
        path: see `check_output`.
        fps: Fraction; int and str ("30000/1001") are taken too.
        crf: constant rate factor, 0 (best) to 51 for H.264, to 63 for VP9; ProRes, PNG and GIF have none.
        codec: "auto" follows the suffix.
        audio: sound or video file whose first sound stream is laid under the frames. It is copied untouched
            where it starts at 0 and the container carries its codec (only the packet that would outlast the
            picture is left out), else encoded and cut at the sample.
        audio_start: seconds into `audio`, from its first video frame if it has one, at the first frame
            written: `VideoReader.start`.
        alpha: keep transparency; else a transparent frame is laid on white.
        metadata: tags to store (not in GIF and PNG).
        provenance: what the file, or every PNG of a folder, says of where it comes from; None says nothing.
        credential: signs that as a C2PA manifest, in the formats of `animate.signing.SIGNABLE`.

    Attributes:
        frames: frames written so far.
        sound: what became of the sound: "none", "copied (aac)", "encoded (aac)", ...; final after `close`.
        warnings: sentences on what had to be changed.

    Raises:
        MediaError: see `check_output`; unreadable sound file; frames of unequal size; no frame; ffmpeg fails.
        OptionError: rate, CRF or codec out of range.
    """

    def __init__(
        self,
        path: str | Path,
        fps: Fraction,
        crf: int = 18,
        codec: str = "auto",
        audio: str | Path | None = None,
        audio_start: float = 0.0,
        alpha: bool = False,
        metadata: Mapping[str, str] | None = None,
        provenance: Provenance | None = None,
        credential: Credential | None = None,
    ) -> None:
        self.target = outputs.check_output(path, [] if audio is None else [audio], codec, alpha)
        self.fps = exact_rate(fps)
        limit = MAX_CRF.get(self.target.codec, 63)
        if not 0 <= crf <= limit:
            raise OptionError(f"crf {crf} is out of range: give 0 (best) to {limit}.")
        self.crf, self.alpha, self.metadata = crf, alpha, dict(metadata or {})
        self.frames, self.sound = 0, "none"
        self.warnings: list[str] = []
        self._size: tuple[int, int] | None = None
        self._process: subprocess.Popen | None = None
        self._closed = False
        self._audio = self._prepare_sound(audio, audio_start) if audio is not None else None
        if self.metadata and self.target.container in ("gif", "image2"):
            self.warnings.append(f"{path}: this format stores no tags; they are left out.")
        self._provenance, self._credential = provenance, credential
        if provenance is not None:
            self.metadata = provenance.tags(self.target.container) | self.metadata
        self._folder = outputs.workspace(self.target.path)
        self._log = tempfile.TemporaryFile()

    def _prepare_sound(self, audio: str | Path, start: float) -> tuple[Path, SoundInfo, float] | None:
        if not 0 <= start < float("inf"):
            raise OptionError(f"the sound's start {start} s is not a time: give 0 or more seconds.")
        info = sound_of(check_input(audio, "sound file"))
        if info is None:
            return None
        if self.target.container not in SOUND_CODECS:
            self.warnings.append(f"{self.target.path}: this format has no sound; it is left out.")
            return None
        return Path(audio), info, max(0.0, start + _picture_delay(Path(audio)))

    def write(self, frame: np.ndarray) -> None:
        """Append one frame, (H, W, 3 or 4) uint8 RGB(A)."""
        if self._closed:
            raise MediaError(f"{self.target.path} is already closed: no more frames can be written.")
        if frame.dtype != np.uint8 or frame.ndim != 3 or frame.shape[2] not in (3, 4):
            raise MediaError(f"a frame has to be (H, W, 3 or 4) uint8; this one is {frame.shape} {frame.dtype}.")
        if self._process is None:
            self._begin(frame.shape[1], frame.shape[0])
        if (frame.shape[1], frame.shape[0]) != self._size:
            raise MediaError(
                f"frame {self.frames} is {frame.shape[1]}x{frame.shape[0]}, the ones before were "
                f"{self._size[0]}x{self._size[1]}: all frames of a video have one size."
            )
        try:
            self._process.stdin.write(memoryview(self._prepare(frame)).cast("B"))
        except (BrokenPipeError, OSError) as error:
            self._fail(error)
        self.frames += 1

    def _prepare(self, frame: np.ndarray) -> np.ndarray:
        if self.alpha and frame.shape[2] == 3:
            frame = np.concatenate([frame, np.full_like(frame[..., :1], 255)], axis=2)
        elif not self.alpha and frame.shape[2] == 4:
            frame = self._flatten(frame)
        if self.target.codec == "h264" and (frame.shape[0] % 2 or frame.shape[1] % 2):
            frame = np.pad(frame, ((0, frame.shape[0] % 2), (0, frame.shape[1] % 2), (0, 0)), mode="edge")
        return np.ascontiguousarray(frame)

    def _flatten(self, frame: np.ndarray) -> np.ndarray:
        if (frame[..., 3] < 255).any():
            sentence = f"{self.target.path}: transparency is laid on white (.webm, .mov or PNG frames keep it)."
            if sentence not in self.warnings:
                self.warnings.append(sentence)
        return on_white(frame)

    def _begin(self, width: int, height: int) -> None:
        self._size = (width, height)
        codec, container = self.target.codec, self.target.container
        folder = Path(self._folder.name)
        if codec == "h264":
            width, height = width + width % 2, height + height % 2
            if (width, height) != self._size:
                self.warnings.append(
                    f"{self.target.path}: H.264 has no odd sizes; the last column or row is repeated once, "
                    f"{self._size[0]}x{self._size[1]} becomes {width}x{height}."
                )
        if codec == "png":
            (folder / "frames").mkdir()
            target = self.target.pattern
        elif codec == "gif":
            codec, container, target = "ffv1", "matroska", folder / "picture.mkv"
        else:
            target = folder / f"picture.{container}"
        command = ffmpeg.encode_command(
            target,
            (width, height),
            self.fps,
            codec=codec,
            container=container,
            crf=self.crf,
            alpha=self.alpha,
            metadata={} if self.target.codec in ("gif", "png") else self.metadata,
        )
        self._process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=self._log,
            cwd=folder / "frames" if codec == "png" else None,
            start_new_session=True,
        )

    def close(self) -> None:
        """Finish the file and put it under its final name.

        Raises:
            MediaError: no frame was written, or the file could not be finished; nothing is left behind then.
        """
        if self._closed:
            return
        try:
            if self._process is None:
                raise MediaError(f"{self.target.path}: no frame was written, so there is no video.")
            try:
                self._process.stdin.close()
            except OSError as error:
                self._fail(error)
            if self._process.wait() != 0:
                self._fail(None)
            self._finish(Path(self._folder.name))
        finally:
            self.abort()

    def _finish(self, folder: Path) -> None:
        codec, container = self.target.codec, self.target.container
        if codec == "png":
            self._move_sequence(folder / "frames")
            return
        picture, result = folder / f"picture.{container}", folder / f"result.{container}"
        if codec == "gif":
            rate = min(self.fps, GIF_MAX_RATE)
            if rate != self.fps:
                self.warnings.append(f"{self.target.path}: GIF shows at most 50 frames a second; some are left out.")
            source, palette = folder / "picture.mkv", folder / "palette.png"
            self._check(ffmpeg.run(ffmpeg.palette_command(source, palette, self.alpha)))
            self._check(ffmpeg.run(ffmpeg.gif_command(source, palette, result, rate)))
        elif self._audio is not None:
            self._check(ffmpeg.run(self._mux_command(picture, result)))
        else:
            result = picture
        self._mark(result, container)
        outputs.move(result, self.target.path)

    def _mark(self, file: Path, kind: str) -> None:
        """Lets a finished file say where it comes from, before it has its final name."""
        if self._provenance is not None:
            embed(file, kind, self._provenance)
            if self._credential is not None:
                suffix = ".png" if kind == "png" else self.target.path.suffix
                sign(file, suffix, self._provenance, self._credential)

    def _mux_command(self, picture: Path, result: Path) -> list[str]:
        audio, info, start = self._audio
        keeps, encoder = SOUND_CODECS[self.target.container]
        copied = abs(start) < 1e-3 and info.codec in keeps
        self.sound = f"copied ({info.codec})" if copied else f"encoded ({encoder.removeprefix('lib')})"
        return ffmpeg.mux_command(
            picture,
            audio,
            result,
            container=self.target.container,
            encoder="copy" if copied else encoder,
            start=start,
            duration=self._sound_duration(info) if copied else float(self.frames / self.fps),
            stereo=info.layout not in ("mono", "1 channels", "stereo", "2 channels"),
            alpha=self.alpha,
            metadata=self.metadata,
        )

    def _sound_duration(self, info: SoundInfo) -> float:
        packet = PACKET_SAMPLES.get(info.codec, 0) / (info.sample_rate or 48000)
        return max(0.0, float(self.frames / self.fps) - packet) + 1e-6

    def _move_sequence(self, frames: Path) -> None:
        for file in list(frames.iterdir()):
            self._mark(file, "png")
        if self.target.path.is_dir():
            for file in sorted(frames.iterdir()):
                outputs.move(file, self.target.path / file.name)
        else:
            outputs.move(frames, self.target.path)

    def _check(self, done: subprocess.CompletedProcess) -> None:
        if done.returncode != 0:
            reason = ffmpeg.complaint(done.stderr) or f"ffmpeg ended with {done.returncode}"
            raise MediaError(f"{self.target.path} could not be written ({reason}).")

    def _fail(self, cause: Exception | None) -> None:
        self._process.wait()
        self._log.seek(0)
        reason = ffmpeg.complaint(self._log.read(1 << 16)) or cause or "ffmpeg stopped"
        raise MediaError(f"{self.target.path} could not be written ({reason}).") from cause

    def abort(self) -> None:
        """Give up: stop the encoder and remove what was written so far. Harmless after `close`."""
        self._closed = True
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            try:
                self._process.stdin.close()
            except OSError:  # what was still buffered has nowhere to go
                pass
        self._folder.cleanup()
        self._log.close()

    def __enter__(self) -> "VideoWriter":
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        if kind is None:
            self.close()
        else:
            self.abort()


def _picture_delay(path: Path) -> float:
    """Seconds by which a file's first picture comes after its clock's start; 0 for a file without video."""
    banner = parse_banner(ffmpeg.run(ffmpeg.banner_command(path)).stderr.decode("utf-8", "replace"))
    if banner is None or banner.size is None or set(banner.formats) & NOT_VIDEO:
        return 0.0
    info = probe(path)
    return info.start - info.container_start


def on_white(image: np.ndarray) -> np.ndarray:
    """(H, W, 4) uint8 RGBA laid on white, (H, W, 3) uint8."""
    alpha = image[..., 3:].astype(np.uint16)
    return ((image[..., :3] * alpha + 255 * (255 - alpha) + 127) // 255).astype(np.uint8)
