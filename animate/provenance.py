"""What a picture or video says of itself: that it was generated, by what, when.

The words are XMP (ISO 16684-1) with IPTC's properties for generated media (Iptc4xmpExt:DigitalSourceType, and
AISystemUsed and AISystemVersionUsed of the IPTC Photo Metadata Standard 2025.1). Where they go: MP4, a `uuid` box at
the file's end; MOV, `moov/udta/XMP_`, which ffmpeg writes; PNG, an iTXt chunk; GIF, an application extension; JPEG, an
APP1 segment; WebP and TIFF, their own fields. Matroska and WebM have no place for XMP: they carry the same as tags.
"""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from xml.sax.saxutils import escape

SOURCE_TYPE = "http://cv.iptc.org/newscodes/digitalsourcetype/trainedAlgorithmicMedia"
SOFTWARE = "Mien"
XMP_UUID = bytes.fromhex("BE7ACFCB97A942E89C71999491E3AFAC")
XMP_PNG = b"XML:com.adobe.xmp"
XMP_JPEG = b"http://ns.adobe.com/xap/1.0/\0"
XMP_GIF = b"XMP DataXMP"
# What lets a GIF reader that knows nothing of XMP find the end of the packet (XMP specification, part 3).
_GIF_TRAILER = bytes([1, *range(255, -1, -1), 0])
PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"


def mien_version() -> str:
    """The installed version; "unknown" when the source tree was never installed."""
    try:
        return version("mien")
    except PackageNotFoundError:
        return "unknown"


@dataclass(frozen=True)
class Provenance:
    """Where a picture or video comes from.

    what: of which it is said that it is AI-generated, such as "talking portrait". model: what drew it. created: when.
    """

    what: str = "portrait animation"
    model: str = "mini"
    created: datetime = field(default_factory=lambda: datetime.now(UTC).replace(microsecond=0))

    @property
    def when(self) -> str:
        """The time in UTC, as XMP and ffmpeg write it."""
        return self.created.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")

    @property
    def sentence(self) -> str:
        """For the field "comment", which every player shows."""
        return f"AI-generated {self.what}, {SOFTWARE} {mien_version()}"

    def xmp(self) -> str:
        """The XMP packet."""
        about = "http://www.w3.org/1999/02/22-rdf-syntax-ns#"
        facts = {
            "xmp:CreatorTool": f"{SOFTWARE} {mien_version()}",
            "xmp:CreateDate": self.when,
            "Iptc4xmpExt:DigitalSourceType": SOURCE_TYPE,
            "Iptc4xmpExt:AISystemUsed": f"{SOFTWARE}, model {self.model}",
            "Iptc4xmpExt:AISystemVersionUsed": mien_version(),
        }
        lines = "\n".join(f"   <{name}>{escape(text)}</{name}>" for name, text in facts.items())
        return (
            '<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?>\n'
            f'<x:xmpmeta xmlns:x="adobe:ns:meta/">\n <rdf:RDF xmlns:rdf="{about}">\n  <rdf:Description rdf:about=""\n'
            '    xmlns:xmp="http://ns.adobe.com/xap/1.0/" xmlns:dc="http://purl.org/dc/elements/1.1/"\n'
            '    xmlns:Iptc4xmpExt="http://iptc.org/std/Iptc4xmpExt/2008-02-29/">\n'
            f"{lines}\n"
            f'   <dc:description><rdf:Alt><rdf:li xml:lang="x-default">{escape(self.sentence)}</rdf:li></rdf:Alt>'
            "</dc:description>\n  </rdf:Description>\n </rdf:RDF>\n</x:xmpmeta>\n"
            '<?xpacket end="w"?>'
        )

    def tags(self, container: str) -> dict[str, str]:
        """What ffmpeg is to write into a video; "comment" and "creation_time" everywhere.

        container: ffmpeg's name of the file format.
        """
        found = {"comment": self.sentence, "creation_time": self.when}
        if container == "mov":
            found["xmp"] = self.xmp()
        if container in ("matroska", "webm"):
            system = f"{SOFTWARE}, model {self.model}"
            found |= {
                "software": f"{SOFTWARE} {mien_version()}",
                "ai_system_used": system,
                "digital_source_type": SOURCE_TYPE,
            }
        return found


def embed(path: Path, kind: str, provenance: Provenance) -> None:
    """Writes the XMP packet into a finished file, in place; what ffmpeg or Pillow wrote itself stays.

    kind: "mp4", "gif", "png", "jpeg"; others are left as they are.
    """
    packet = provenance.xmp().encode()
    if kind == "mp4":
        with path.open("ab") as file:
            file.write(struct.pack(">I4s", 8 + 16 + len(packet), b"uuid") + XMP_UUID + packet)
    elif kind == "gif":
        with path.open("r+b") as file:
            file.seek(-1, 2)
            if file.read(1) == b"\x3b":  # the trailer: every block stands before it
                file.seek(-1, 2)
                file.write(b"\x21\xff\x0b" + XMP_GIF + packet + _GIF_TRAILER + b"\x3b")
    elif kind == "png":
        data = path.read_bytes()
        first = len(PNG_SIGNATURE) + 25  # IHDR is always first and always as long
        path.write_bytes(data[:first] + png_chunks(provenance) + data[first:])
    elif kind == "jpeg":
        data, segment = path.read_bytes(), XMP_JPEG + packet
        # After JFIF's own segment, which has to be the first.
        first = 4 + int.from_bytes(data[4:6], "big") if data[2:4] == b"\xff\xe0" else 2
        path.write_bytes(data[:first] + b"\xff\xe1" + struct.pack(">H", len(segment) + 2) + segment + data[first:])


def png_chunks(provenance: Provenance) -> bytes:
    """The chunks that tell where a PNG comes from: XMP, and the registered words Software, Creation Time, Comment."""
    created = provenance.created.astimezone(UTC).strftime("%a, %d %b %Y %H:%M:%S +0000")
    words = {
        b"Software": f"{SOFTWARE} {mien_version()}",
        b"Creation Time": created,
        b"Comment": provenance.sentence,
        XMP_PNG: provenance.xmp(),
    }
    return b"".join(_chunk(b"iTXt", key + b"\0\0\0\0\0" + text.encode()) for key, text in words.items())


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
