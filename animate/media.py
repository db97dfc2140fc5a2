"""Images, video and sound in and out. Everything is uint8 RGB(A) in arrays, and exact fractions in time."""

import warnings
from pathlib import Path

import numpy as np

from animate.errors import MediaError
from animate.frame_rate import exact_rate
from animate.outputs import check_file, check_output, move, workspace
from animate.probe import MAX_SIDE, SoundInfo, VideoInfo, check_input, probe, sound_of
from animate.provenance import Provenance, embed
from animate.signing import SIGNABLE, Credential, sign
from animate.video_reader import VideoReader, read_sound
from animate.video_writer import VideoWriter, on_white

__all__ = [
    "SoundInfo",
    "VideoInfo",
    "VideoReader",
    "VideoWriter",
    "check_file",
    "check_output",
    "exact_rate",
    "probe",
    "read_image",
    "read_sound",
    "sound_of",
    "write_image",
]

# Named, because Pillow would also start other programs (Ghostscript for EPS).
READABLE = ["JPEG", "PNG", "WEBP", "TIFF", "BMP", "GIF", "JPEG2000", "AVIF", "PPM", "TGA", "ICO"]
MAX_PIXELS = MAX_SIDE * 10240
XMP_TIFF = 700  # the tag that holds XMP
# suffix -> (Pillow's format, options, transparency possible)
WRITABLE: dict[str, tuple[str, dict, bool]] = {
    ".png": ("PNG", {}, True),
    ".jpg": ("JPEG", {"quality": 95, "subsampling": 0}, False),
    ".jpeg": ("JPEG", {"quality": 95, "subsampling": 0}, False),
    ".webp": ("WEBP", {"lossless": True}, True),
    ".tif": ("TIFF", {"compression": "tiff_lzw"}, True),
    ".tiff": ("TIFF", {"compression": "tiff_lzw"}, True),
    ".bmp": ("BMP", {}, False),
}


def read_image(path: str | Path, max_side: int = MAX_SIDE) -> np.ndarray:
    """Read a picture as it is meant to be seen.

    The camera's rotation (EXIF) is applied, a colour profile other than sRGB is converted, 16 bits are scaled
    to 8, grey, palette and CMYK become RGB. Of an animation the first frame is taken.

    Returns:
        (H, W, 3) uint8 RGB, or (H, W, 4) RGBA (not premultiplied) where the file has transparency.

    Raises:
        MediaError: missing, empty, truncated or no picture; more than `max_side` pixels on a side or
            MAX_PIXELS in all.
    """
    from PIL import Image, ImageOps

    path = check_input(path, "picture")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # the limits below are ours
            Image.init()
            with Image.open(path, formats=[name for name in READABLE if name in Image.OPEN]) as image:
                width, height = image.size
                if max(width, height) > max_side:
                    raise MediaError(
                        f"{path} is {width}x{height} pixels, more than {max_side} on a side: make it smaller."
                    )
                if width * height > MAX_PIXELS:
                    raise MediaError(
                        f"{path} has {width * height:,} pixels, more than {MAX_PIXELS:,}: make it smaller."
                    )
                image.load()
                return _to_array(_to_srgb(ImageOps.exif_transpose(image)))
    except MediaError:
        raise
    except Image.DecompressionBombError as error:
        raise MediaError(
            f"{path} has far too many pixels: make it smaller, at most {max_side} on a side and {MAX_PIXELS:,} in all."
        ) from error
    except Image.UnidentifiedImageError as error:
        raise MediaError(f"{path} {_what_it_is(path)}.") from error
    # Pillow's decoders raise almost anything on damaged data
    except (
        OSError,
        ValueError,
        SyntaxError,
        IndexError,
        KeyError,
        TypeError,
        EOFError,
        MemoryError,
    ) as error:
        raise MediaError(f"{path} is damaged or truncated and cannot be read as a picture ({error}).") from error


def _what_it_is(path: Path) -> str:
    with path.open("rb") as file:
        head = file.read(4096)
    if b"<svg" in head:
        return "is a vector graphic (SVG): export it as PNG first"
    if head[4:8] == b"ftyp" and head[8:12] in (b"heic", b"heix", b"hevc", b"mif1", b"msf1"):
        return "is a HEIC picture, which cannot be read: export it as JPEG first"
    kind = "is no picture that can be read"
    if head[4:8] == b"ftyp" or head.startswith((b"\x1a\x45\xdf\xa3", b"\0\0\x01\xba")) or head[8:12] == b"AVI ":
        kind = "is a video, not a picture"
    elif head.startswith((b"%!PS", b"%PDF")):
        kind = "is a document, not a picture"
    return f"{kind}: give a JPEG, PNG, WebP, TIFF, BMP or GIF picture"


def _to_srgb(image):
    """Convert a picture with a wider colour profile (Display P3, a printer's CMYK) to sRGB."""
    import io

    profile = image.info.get("icc_profile")
    if not profile or image.mode not in ("RGB", "RGBA", "CMYK", "LAB"):
        return image
    from PIL import ImageCms

    try:
        source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        if "srgb" in ImageCms.getProfileDescription(source).lower():
            return image
        mode = "RGBA" if image.mode == "RGBA" else "RGB"
        return ImageCms.profileToProfile(image, source, ImageCms.createProfile("sRGB"), outputMode=mode)
    except (ImageCms.PyCMSError, OSError):  # a broken profile is no reason to refuse the picture
        return image


def _to_array(image) -> np.ndarray:
    if image.mode.startswith("I;16") or image.mode in ("I", "F"):
        grey = _grey_to_8_bit(np.asarray(image), image.mode)
        return np.repeat(grey[..., None], 3, axis=2)
    transparent = "transparency" in image.info or image.mode in ("RGBA", "LA", "PA", "RGBa", "La")
    if image.mode == "La":
        image = image.convert("LA")
    if image.mode == "LAB":
        from PIL import ImageCms

        profiles = ImageCms.createProfile("LAB"), ImageCms.createProfile("sRGB")
        image = ImageCms.profileToProfile(image, *profiles, outputMode="RGB")
    return np.array(image.convert("RGBA" if transparent else "RGB"))


def _grey_to_8_bit(values: np.ndarray, mode: str) -> np.ndarray:
    values = np.nan_to_num(values.astype(np.float64))
    top = values.max(initial=0)
    if mode == "F" and top <= 1:
        full = 1.0
    elif mode in ("I", "F") and top <= 255:
        full = 255.0
    else:
        full = 65535.0 if top <= 65535 else float(top)
    return np.clip(np.rint(values * (255 / full)), 0, 255).astype(np.uint8)


def write_image(
    path: str | Path,
    image: np.ndarray,
    provenance: Provenance | None = None,
    credential: Credential | None = None,
) -> None:
    """Write a picture; it appears under its name only when complete. JPEG and BMP lay transparency on white.

    Args:
        path: .png, .jpg, .webp (lossless), .tif or .bmp.
        image: (H, W, 3 or 4) uint8 RGB(A).
        provenance: what the file says of where it comes from (not in BMP). credential: signs that (C2PA; not in BMP).

    Raises:
        MediaError: unknown suffix, wrong array, or a folder that cannot be written.
    """
    from PIL import Image

    path = check_file(path)
    if path.suffix.lower() not in WRITABLE:
        raise MediaError(f"{path} has an unknown suffix {path.suffix!r}: use one of {', '.join(WRITABLE)}.")
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] not in (3, 4) or not image.size:
        raise MediaError(f"{path}: a picture has to be (H, W, 3 or 4) uint8, not {image.shape} {image.dtype}.")
    kind, options, transparency = WRITABLE[path.suffix.lower()]
    if image.shape[2] == 4 and not transparency:
        image = on_white(image)
    if provenance is not None and kind in ("WEBP", "TIFF"):
        packet = provenance.xmp().encode()
        options = options | ({"xmp": packet} if kind == "WEBP" else {"tiffinfo": {XMP_TIFF: packet}})
    with workspace(path) as folder:
        try:
            Image.fromarray(np.ascontiguousarray(image)).save(Path(folder) / "result", kind, **options)
            if provenance is not None:
                embed(Path(folder) / "result", kind.lower(), provenance)
        except OSError as error:
            raise MediaError(f"{path} could not be written ({error}).") from error
        if provenance is not None and credential is not None and path.suffix.lower() in SIGNABLE:
            sign(Path(folder) / "result", path.suffix, provenance, credential)
        move(Path(folder) / "result", path)
