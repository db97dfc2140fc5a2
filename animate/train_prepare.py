"""From folders of videos to a folder that the full size is trained on: face crops, landmarks, a manifest.

    OUT/dataset.json       what it was made with
    OUT/manifest.jsonl     one line a clip: folder, source, subject, licence, fps, frames, size, suffix
    OUT/skipped.jsonl      one line a stretch that gave nothing: source, start (seconds), reason
    OUT/clips/NAME/BLOCK-SHOT/00000.jpg … landmarks.safetensors   (landmarks (T, 478, 3) px of the crop)

A video is read in blocks of ten seconds, each twice (to follow the face, then to cut it out), so that memory does not
grow with its length (a file that does not tell its length is one block). A block is done when its BLOCK.json lies in
place: a run that was stopped goes on there.
"""

from __future__ import annotations

import csv
import hashlib
import json
import re
import shutil
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from functools import cache
from multiprocessing import get_context
from pathlib import Path

import cv2
import numpy as np

from animate.errors import FaceError, MediaError, OptionError
from animate.train_shots import crop_square, find_shots, watched
from animate.whole_file import whole_file

VIDEO_SUFFIXES = {".mp4", ".mpg", ".mov", ".webm", ".avi", ".mkv", ".m4v"}
PICTURE_SUFFIXES = {"jpg": ".jpg", "webp": ".webp", "png": ".png"}
ENCODING = {".jpg": [cv2.IMWRITE_JPEG_QUALITY, 95], ".webp": [cv2.IMWRITE_WEBP_QUALITY, 92], ".png": []}
BLOCK_SECONDS = 10


@dataclass(frozen=True)
class PrepareConfig:
    """What a dataset is made with; kept in dataset.json, so that a later run cannot mix another size in.

    size: side of the crops, px. picture: jpg, webp or png. shortest: frames below which a shot is left out.
    smallest_face: side of a face in the video, px, below which a crop would only be blur.
    Raises OptionError for what is not usable.
    """

    size: int = 512
    picture: str = "jpg"
    shortest: int = 16
    smallest_face: int = 96

    def __post_init__(self) -> None:
        if self.size < 16 or self.size % 8:
            raise OptionError(f"The size of crops is {self.size}: give a multiple of 8, such as 512.")
        if self.picture not in PICTURE_SUFFIXES:
            raise OptionError(f"Unknown kind of picture {self.picture!r}: choose from {', '.join(PICTURE_SUFFIXES)}.")
        if self.shortest < 2:
            raise OptionError(f"The shortest clip is {self.shortest} frames: training needs 2 or more.")


@dataclass(frozen=True)
class Source:
    """One video: where it lies, its folder's name for it, and what manifest.csv says of it."""

    path: Path
    name: str
    identity: str
    subject: str
    licence: str


@dataclass(frozen=True)
class Summary:
    """What `prepare` found: clips and frames in the dataset, and the sentences of what was left out."""

    clips: int
    frames: int
    skipped: tuple[str, ...]


def find_sources(folders: Iterable[Path]) -> list[Source]:
    """Every video of the folders (or files), sorted. The nearest manifest.csv (columns file, subject, licence) above a
    video, up to the folder that holds the folder given, names people and licences; without one each video is a person
    of its own. Raises MediaError where there is no video."""
    found: dict[str, Source] = {}
    for folder in map(Path, folders):
        if not folder.exists():
            raise MediaError(f"{folder} does not exist: give a folder of videos.")
        root = folder if folder.is_dir() else folder.parent
        top = root.resolve().parent
        for path in sorted(folder.rglob("*")) if folder.is_dir() else [folder]:
            if path.suffix.lower() not in VIDEO_SUFFIXES or not path.is_file():
                continue
            name = path.relative_to(root).as_posix()
            row = _manifest_row(path.resolve(), top)
            digest = hashlib.sha256(f"{root.resolve().name}/{name}".encode()).hexdigest()[:8]
            identity = f"{re.sub(r'[^A-Za-z0-9]+', '-', path.stem)[:60].strip('-') or 'clip'}-{digest}"
            if identity in found and found[identity].path.resolve() != path.resolve():
                raise OptionError(f"{found[identity].path} and {path} have the same name: prepare them separately.")
            subject = row.get("subject") or identity
            found[identity] = Source(path, name, identity, subject, row.get("licence") or "")
    if not found:
        raise MediaError("No video was found in what was given: training needs clips of faces.")
    return list(found.values())


def _manifest_row(path: Path, top: Path) -> dict[str, str]:
    """What the nearest manifest.csv above a video says of it."""
    for folder in path.parents:
        rows = _manifest_rows(folder / "manifest.csv")
        if rows:
            return rows.get(path.relative_to(folder).as_posix()) or rows.get(path.name) or {}
        if folder == top:
            break
    return {}


@cache
def _manifest_rows(path: Path) -> dict[str, dict[str, str]]:
    if not path.is_file():
        return {}
    with path.open(newline="", encoding="utf-8") as rows:
        listed = [row for row in csv.DictReader(rows) if row.get("file")]
    return {key: row for row in listed for key in (Path(row["file"]).name, row["file"])}


def prepare(
    folders: Iterable[Path],
    out: Path,
    config: PrepareConfig | None = None,
    workers: int = 1,
    follow: Callable[[Iterable, int], Iterable] = lambda items, total: items,
) -> Summary:
    """Build or go on with the dataset OUT from folders of videos.

    workers: processes, each with one video at a time. follow: wraps the videos as they are finished, for progress.

    Raises MediaError or OptionError for no video, FaceError when no clip at all is usable, OptionError when OUT was
    made with other settings.
    """
    config, out = config or PrepareConfig(), Path(out)
    sources = find_sources(folders)
    _claim(out, config)
    if workers > 1:
        pool = ProcessPoolExecutor(workers, mp_context=get_context("spawn"))
        try:
            jobs = [pool.submit(prepare_source, source, out, config) for source in sources]
            done = (job.result() for job in jobs)
            records = [record for found in follow(done, len(sources)) for record in found]
        finally:
            pool.shutdown(cancel_futures=True)  # after an interrupt, videos not begun stay so
    else:
        done = (prepare_source(source, out, config) for source in sources)
        records = [record for found in follow(done, len(sources)) for record in found]
    clips = [record for record in _all_records(out) if "folder" in record]
    skipped = [record for record in _all_records(out) if "reason" in record]
    _write_lines(out / "manifest.jsonl", clips)
    _write_lines(out / "skipped.jsonl", skipped)
    reasons = tuple(f"{r['source']} at {r['start']:g} s: {r['reason']}" for r in records if "reason" in r)
    if not clips:
        first = reasons[0].rstrip(".") if reasons else "nothing was found"
        videos = "1 video" if len(sources) == 1 else f"{len(sources)} videos"
        raise FaceError(
            f"No clip for training came out of {videos} ({first}): {out / 'skipped.jsonl'} says all reasons."
        )
    return Summary(len(clips), sum(record["frames"] for record in clips), reasons)


def _claim(out: Path, config: PrepareConfig) -> None:
    """Makes the folder this configuration's, or raises OptionError when it is another's."""
    stored = out / "dataset.json"
    if stored.exists() and json.loads(stored.read_text()) != asdict(config):
        if any("folder" in record for record in _all_records(out)):
            raise OptionError(f"{out} was made with other settings ({stored.read_text()}): give those or a new folder.")
        shutil.rmtree(out / "clips", ignore_errors=True)  # no video was good enough: others may be, as settings are now
    elif stored.exists():
        return
    elif out.is_file() or (out.is_dir() and any(out.iterdir())):
        raise OptionError(f"{out} is not an empty folder and no dataset: give a new folder.")
    out.mkdir(parents=True, exist_ok=True)
    with whole_file(stored) as part:
        part.write_text(json.dumps(asdict(config)))


def prepare_source(source: Source, out: Path, config: PrepareConfig) -> list[dict]:
    """The records of one video's blocks: {"folder", …} of a clip, {"reason", …} of what gave none."""
    records: list[dict] = []
    folder = out / "clips" / source.identity
    folder.mkdir(parents=True, exist_ok=True)
    for block, start, end in _blocks(source.path):
        marker = folder / f"{block:05d}.json"
        if not marker.exists():
            for left in folder.glob(f"{block:05d}-*"):
                shutil.rmtree(left)
            try:
                made = list(_prepare_block(source, block, start, end, out, config))
            except (FaceError, MediaError) as error:
                made = [_skip(source, start, str(error))]
            _write_lines(marker, made)
        found = _read_lines(marker)
        records += found
        if end is None:
            break
    return records


def _blocks(path: Path) -> Iterator[tuple[int, float, float | None]]:
    """(number, start, end) in seconds; a damaged file is one block, which then says what is wrong."""
    from animate.media import VideoReader

    try:
        with VideoReader(path) as reader:
            frames, fps = reader.frames, reader.fps
    except MediaError:
        frames, fps = None, None
    if frames is None:
        yield 0, 0.0, None
        return
    length = max(1, round(BLOCK_SECONDS * fps))
    count = max(1, round(frames / length))  # the last block takes what is left, so that none is a few frames long
    for block in range(count):
        end = None if block == count - 1 else float((block + 1) * length / fps)
        yield block, float(block * length / fps), end


def _prepare_block(
    source: Source, block: int, start: float, end: float | None, out: Path, config: PrepareConfig
) -> Iterator[dict]:
    from animate.faces import create_tracker
    from animate.media import VideoReader

    differences: list[float] = []
    with VideoReader(source.path, start=start, end=end) as reader, create_tracker() as tracker:
        track = tracker.track(watched(reader, differences), reader.fps, 1, source.path)[0]
        shots = find_shots(track.landmarks, track.valid, np.array(differences))
        kept = 0
        for first, last in shots:
            if last - first < config.shortest:
                continue
            boxes = track.boxes[first:last]
            face = float(np.median((boxes[:, 2:] - boxes[:, :2]).max(1)))
            seconds = start + float(first / reader.fps)
            if face < config.smallest_face:
                kept += 1
                yield _skip(source, seconds, f"the face is {face:.0f} px large, {config.smallest_face} are wanted.")
                continue
            name = Path("clips") / source.identity / f"{block:05d}-{kept:02d}"
            square = crop_square(boxes, track.size)
            _write_clip(reader, track.landmarks, first, last, square, out / name, config)
            kept += 1
            yield {
                "folder": name.as_posix(),
                "source": source.name,
                "subject": source.subject,
                "licence": source.licence,
                "fps": str(reader.fps),
                "start": round(seconds, 3),
                "frames": last - first,
                "size": config.size,
                "suffix": PICTURE_SUFFIXES[config.picture],
                "face": round(face / square[2] * config.size, 1),
            }
    if not kept:
        yield _skip(source, start, f"the face is never seen for {config.shortest} frames without a break.")


def _skip(source: Source, start: float, reason: str) -> dict:
    return {"source": source.name, "start": round(start, 3), "reason": reason}


def _write_clip(
    reader, landmarks: np.ndarray, first: int, last: int, square: tuple[int, int, int], folder: Path, config
) -> None:
    from safetensors.numpy import save_file

    x, y, side = square
    suffix, scale = PICTURE_SUFFIXES[config.picture], config.size / side
    folder.mkdir(parents=True)
    for index, frame in enumerate(reader):
        if index >= last:
            break
        if index < first:
            continue
        picture = frame[y : y + side, x : x + side]
        kind = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
        picture = cv2.resize(picture, (config.size, config.size), interpolation=kind)
        path = folder / f"{index - first:05d}{suffix}"
        if not cv2.imwrite(str(path), cv2.cvtColor(picture, cv2.COLOR_RGB2BGR), ENCODING[suffix]):
            raise MediaError(f"{path} could not be written: is the disk full?")
    points = (landmarks[first:last] - (x - 0.5, y - 0.5, 0)) * scale - (0.5, 0.5, 0)
    save_file({"landmarks": np.ascontiguousarray(points, np.float32)}, folder / "landmarks.safetensors")


def _all_records(out: Path) -> list[dict]:
    return [record for path in sorted((out / "clips").glob("*/*.json")) for record in _read_lines(path)]


def _read_lines(path: Path) -> list[dict]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def _write_lines(path: Path, records: list[dict]) -> None:
    lines = "".join(json.dumps(record, ensure_ascii=False) + "\n" for record in records)
    with whole_file(path) as part:
        part.write_text(lines, encoding="utf-8")
