"""What a picture or video says of where it comes from, read without trusting the file: see `animate.provenance`."""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from xml.etree import ElementTree

from animate import ffmpeg
from animate.errors import MediaError
from animate.probe import check_input
from animate.provenance import PNG_SIGNATURE, XMP_GIF, XMP_JPEG, XMP_PNG, XMP_UUID

C2PA_UUID = bytes.fromhex("D8FEC3D61B0E483C92975828877EC481")
LARGEST_PACKET = 1 << 22  # bytes; XMP is text of a few thousand
C2PA_TIFF, XMP_TIFF = 52545, 700
_RDF = "{http://www.w3.org/1999/02/22-rdf-syntax-ns#}"
# name in `Origin.facts` → local names of the properties, or of Matroska's tags, that hold it, the best one first
_FACTS = {
    "software": ("CreatorTool", "software"),
    "system": ("AISystemUsed", "ai_system_used"),
    "created": ("CreateDate", "creation_time"),
    "digital_source_type": ("DigitalSourceType", "digital_source_type"),
    "description": ("description", "comment"),
}


@dataclass
class Origin:
    """What was found in a file.

    kind: the format by its content, such as "mp4". facts: those of software, system, created, digital_source_type and
    description that there are. manifest: whether it carries a C2PA manifest, checked or not.
    """

    kind: str
    facts: dict[str, str] = field(default_factory=dict)
    manifest: bool = False

    @property
    def generated(self) -> bool:
        """Whether the plain metadata say that it was made by a trained model, wholly or in part."""
        return tells_of_a_model(self.facts.get("digital_source_type", ""))


def tells_of_a_model(source_type: str) -> bool:
    """Whether IPTC's digital source type says that a trained model made a file, or a part of it."""
    return source_type.lower().endswith("trainedalgorithmicmedia")


def read_origin(path: str | Path) -> Origin:
    """Reads the plain metadata of a picture or video, and whether there is a manifest.

    Raises MediaError where there is no such file, or it is no picture or video that is known.
    """
    path = check_input(path, "file")
    with path.open("rb") as file:
        head = file.read(16)
    kind = _kind(head)
    if kind is None:
        raise MediaError(f"{path} is no picture or video that can be looked at: give MP4, MOV, WebM, GIF, PNG or JPEG.")
    packet, manifest = _READERS[kind](path)
    tags = _tags(path) if kind in ("mp4", "mov", "matroska") else {}
    facts = dict(_properties(packet))
    found = {}
    for name, keys in _FACTS.items():
        values = [source[key] for key in keys for source in (facts, tags) if key in source]
        if values:
            found[name] = values[0]
    return Origin(kind, found, manifest)


def _kind(head: bytes) -> str | None:
    if head.startswith(PNG_SIGNATURE):
        return "png"
    if head[4:8] == b"ftyp":
        return "mov" if head[8:12] == b"qt  " else "mp4"
    starts = {b"GIF8": "gif", b"\xff\xd8\xff": "jpeg", b"\x1a\x45\xdf\xa3": "matroska"}
    starts |= {b"II*\0": "tiff", b"MM\0*": "tiff"}
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        return "webp"
    return next((kind for start, kind in starts.items() if head.startswith(start)), None)


def _boxes(file, end: int) -> Iterator[tuple[bytes, int, int]]:
    """Type, start and end of the content of each box from here to `end` (ISO 14496-12)."""
    while (start := file.tell()) + 8 <= end:
        size, kind = struct.unpack(">I4s", file.read(8))
        head = 8
        if size == 1:
            size, head = int.from_bytes(file.read(8), "big"), 16
        elif size == 0:
            size = end - start
        if size < head or start + size > end:
            return
        yield kind, start + head, start + size
        file.seek(start + size)


def _read_boxes(path: Path) -> tuple[bytes, bool]:
    packet, manifest = b"", False

    def walk(file, end: int) -> None:
        nonlocal packet, manifest
        for kind, start, stop in _boxes(file, end):
            file.seek(start)
            if kind == b"uuid":
                name = file.read(16)
                manifest |= name == C2PA_UUID
                if name == XMP_UUID:
                    packet = file.read(min(stop - start - 16, LARGEST_PACKET))
            elif kind == b"XMP_":
                packet = file.read(min(stop - start, LARGEST_PACKET))
            elif kind in (b"moov", b"udta"):
                walk(file, stop)

    with path.open("rb") as file:
        walk(file, path.stat().st_size)
    return packet, manifest


def _read_png(path: Path) -> tuple[bytes, bool]:
    packet, manifest, size = b"", False, path.stat().st_size
    with path.open("rb") as file:
        file.seek(len(PNG_SIGNATURE))
        while file.tell() + 12 <= size:
            length, kind = struct.unpack(">I4s", file.read(8))
            start = file.tell()
            if kind == b"iTXt":
                text = file.read(min(length, LARGEST_PACKET))
                if text.startswith(XMP_PNG + b"\0\0"):  # not compressed
                    packet = text[len(XMP_PNG) + 3 :].split(b"\0", 2)[-1]
            manifest |= kind == b"caBX"
            file.seek(start + length + 4)
    return packet, manifest


def _read_jpeg(path: Path) -> tuple[bytes, bool]:
    packet, manifest = b"", False
    with path.open("rb") as file:
        file.seek(2)
        while len(head := file.read(4)) == 4 and head[0] == 0xFF and head[1] not in (0xDA, 0xD9):
            data = file.read(int.from_bytes(head[2:], "big") - 2)
            if head[1] == 0xE1 and data.startswith(XMP_JPEG):
                packet = data[len(XMP_JPEG) :]
            manifest |= head[1] == 0xEB and data.startswith(b"JP") and b"c2pa" in data
    return packet, manifest


def _read_webp(path: Path) -> tuple[bytes, bool]:
    packet, manifest = b"", False
    with path.open("rb") as file:
        file.seek(12)
        while len(head := file.read(8)) == 8:
            kind, length = struct.unpack("<4sI", head)
            start = file.tell()
            if kind == b"XMP ":
                packet = file.read(min(length, LARGEST_PACKET))
            manifest |= kind == b"C2PA"
            file.seek(start + length + length % 2)
    return packet, manifest


def _read_gif(path: Path) -> tuple[bytes, bool]:
    data = path.read_bytes()
    start = data.find(b"\x21\xff\x0b" + XMP_GIF)
    packet = b"" if start < 0 else data[start + 3 + len(XMP_GIF) :][:LARGEST_PACKET]
    return packet, b"\x21\xff\x0bC2PA_GIF" in data


def _read_tiff(path: Path) -> tuple[bytes, bool]:
    from PIL import Image

    try:
        with Image.open(path, formats=["TIFF"]) as image:
            packet = image.tag_v2.get(XMP_TIFF, b"")
            return packet if isinstance(packet, bytes) else bytes(packet), C2PA_TIFF in image.tag_v2
    except (OSError, ValueError, SyntaxError, TypeError) as error:
        raise MediaError(f"{path} is damaged and cannot be read as a picture ({error}).") from error


_READERS = {
    "mp4": _read_boxes,
    "mov": _read_boxes,
    "png": _read_png,
    "jpeg": _read_jpeg,
    "webp": _read_webp,
    "gif": _read_gif,
    "tiff": _read_tiff,
    "matroska": lambda path: (b"", False),
}


def _tags(path: Path) -> dict[str, str]:
    """The tags of a video as a whole, keys in lower case."""
    banner = ffmpeg.run(ffmpeg.banner_command(path)).stderr.decode("utf-8", "replace")
    tags: dict[str, str] = {}
    for line in banner.partition("Metadata:")[2].splitlines():
        if re.match(r" *(Duration|Stream|Chapters?)\b", line):
            break
        if match := re.match(r" {4}(\w+) *: (.*)", line):
            tags.setdefault(match[1].lower(), match[2].strip())
    return tags


def _properties(packet: bytes) -> Iterator[tuple[str, str]]:
    """Local name and text of every simple property of an XMP packet; nothing for one that is no XML."""
    start, end = packet.find(b"<x:xmpmeta"), packet.rfind(b"</x:xmpmeta>")
    if start < 0 or end < 0 or b"<!" in packet[start:end]:  # no document types: they can grow without bound
        return
    try:
        root = ElementTree.fromstring(packet[start : end + len(b"</x:xmpmeta>")])
    except ElementTree.ParseError:
        return
    for about in root.iter(f"{_RDF}Description"):
        yield from ((key.rpartition("}")[2], text) for key, text in about.attrib.items())
        for element in about:
            yield element.tag.rpartition("}")[2], " ".join("".join(element.itertext()).split())
