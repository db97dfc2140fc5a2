"""Pictures in and out: what was photographed is what comes in, and bad files give one sentence."""

import io
import struct
import zlib

import numpy as np
import pytest
from PIL import Image, ImageCms

from animate.errors import MediaError
from animate.media import read_image, write_image


@pytest.fixture
def ramp():
    """(24, 40, 3) uint8 with a different value everywhere that matters."""
    y, x = np.mgrid[:24, :40]
    return np.stack([x * 6, y * 10, (x + y) * 4], axis=-1).astype(np.uint8)


def save(path, array, mode=None, **options):
    Image.fromarray(array, mode).save(path, **options)
    return path


@pytest.mark.parametrize("orientation", range(1, 9))
def test_camera_rotation_is_applied(tmp_path, ramp, orientation):
    stored = {
        1: ramp,
        2: ramp[:, ::-1],
        3: ramp[::-1, ::-1],
        4: ramp[::-1],
        5: ramp.transpose(1, 0, 2),
        6: np.rot90(ramp, 1),
        7: ramp[::-1, ::-1].transpose(1, 0, 2),
        8: np.rot90(ramp, -1),
    }[orientation]
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = save(tmp_path / "a.png", np.ascontiguousarray(stored), exif=exif)
    assert np.array_equal(read_image(path), ramp)


def test_alpha_is_kept_and_colours_are_not_premultiplied(tmp_path, ramp):
    alpha = np.linspace(0, 255, 24 * 40).reshape(24, 40, 1).astype(np.uint8)
    picture = np.concatenate([ramp, alpha], axis=-1)
    assert np.array_equal(read_image(save(tmp_path / "a.png", picture)), picture)


def test_palette_with_a_transparent_colour_has_alpha(tmp_path):
    image = Image.fromarray(np.array([[0, 1], [1, 0]], np.uint8), "P")
    image.putpalette([255, 0, 0, 0, 255, 0])
    image.save(tmp_path / "a.png", transparency=1)
    assert read_image(tmp_path / "a.png").tolist() == [
        [[255, 0, 0, 255], [0, 255, 0, 0]],
        [[0, 255, 0, 0], [255, 0, 0, 255]],
    ]


def test_palette_and_grey_become_rgb(tmp_path, ramp):
    grey = save(tmp_path / "g.png", ramp[..., 0])
    assert np.array_equal(read_image(grey), np.repeat(ramp[..., :1], 3, axis=2))
    Image.fromarray(ramp).quantize(16).save(tmp_path / "p.png")
    assert read_image(tmp_path / "p.png").shape == (24, 40, 3)
    Image.fromarray(ramp[..., 0] > 100).save(tmp_path / "b.png")
    assert set(np.unique(read_image(tmp_path / "b.png"))) == {0, 255}


@pytest.mark.parametrize("name", ["a.png", "a.tif"])
def test_sixteen_bits_are_scaled_not_cut(tmp_path, name):
    deep = (np.arange(256, dtype=np.uint16) * 257).reshape(16, 16)
    picture = read_image(save(tmp_path / name, deep))
    assert np.array_equal(picture, np.repeat(np.arange(256, dtype=np.uint8).reshape(16, 16, 1), 3, axis=2))


def test_sixteen_bit_colour(tmp_path):
    import cv2

    deep = (np.arange(256 * 3, dtype=np.uint32) * 85).reshape(16, 16, 3).astype(np.uint16)
    cv2.imwrite(str(tmp_path / "a.png"), deep[..., ::-1])
    assert np.abs(read_image(tmp_path / "a.png").astype(int) - deep / 257).max() <= 1


def test_float_and_cmyk(tmp_path, ramp):
    save(tmp_path / "f.tif", (ramp[..., 0] / 255).astype(np.float32))
    assert np.abs(read_image(tmp_path / "f.tif")[..., 1].astype(int) - ramp[..., 0]).max() <= 1
    Image.fromarray(ramp).convert("CMYK").save(tmp_path / "c.tif")
    assert np.abs(read_image(tmp_path / "c.tif").astype(int) - ramp).max() <= 1


def test_another_colour_profile_is_converted_to_srgb(tmp_path):
    """A profile whose red is sRGB's green, and the other way round: the channels have to change places."""
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    swapped = profile.replace(b"rXYZ", b"tmp_").replace(b"gXYZ", b"rXYZ").replace(b"tmp_", b"gXYZ")
    swapped = swapped.replace("sRGB".encode("utf-16-be"), "test".encode("utf-16-be"))
    colours = np.array([[[200, 40, 90], [10, 250, 128]]], np.uint8)
    path = save(tmp_path / "a.png", colours, icc_profile=swapped)
    assert np.abs(read_image(path).astype(int) - colours[..., [1, 0, 2]]).max() <= 2
    same = save(tmp_path / "b.png", colours, icc_profile=profile)
    assert np.array_equal(read_image(same), colours)


def test_lab_becomes_rgb(tmp_path, ramp):
    lab = ImageCms.profileToProfile(
        Image.fromarray(ramp), ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB"), outputMode="LAB"
    )
    lab.save(tmp_path / "lab.tif")
    assert np.abs(read_image(tmp_path / "lab.tif").astype(int) - ramp).mean() < 2


def test_a_broken_profile_does_not_lose_the_picture(tmp_path, ramp):
    path = save(tmp_path / "a.png", ramp, icc_profile=b"no profile at all")
    assert np.array_equal(read_image(path), ramp)


def test_of_an_animation_the_first_frame_is_taken(tmp_path, ramp):
    frames = [Image.fromarray(ramp), Image.fromarray(255 - ramp)]
    frames[0].save(tmp_path / "a.webp", save_all=True, append_images=frames[1:], lossless=True)
    assert np.array_equal(read_image(tmp_path / "a.webp"), ramp)


@pytest.mark.parametrize("name", ["a.png", "a.webp", "a.tif", "a.tiff", "a.bmp"])
def test_lossless_formats_come_back_equal(tmp_path, ramp, name):
    write_image(tmp_path / name, ramp)
    assert np.array_equal(read_image(tmp_path / name), ramp)
    assert [file.name for file in tmp_path.iterdir()] == [name]


def test_jpeg_is_close_and_lays_transparency_on_white(tmp_path, astronaut):
    write_image(tmp_path / "a.jpg", np.dstack([astronaut, np.full((512, 512), 255, np.uint8)]))
    assert np.abs(read_image(tmp_path / "a.jpg").astype(int) - astronaut).mean() < 2
    write_image(tmp_path / "b.jpg", np.zeros((16, 16, 4), np.uint8))
    assert read_image(tmp_path / "b.jpg").min() >= 254


def bomb(side):
    """A PNG of a few bytes that claims side x side pixels."""
    buffer = io.BytesIO()
    Image.new("L", (1, 1)).save(buffer, "PNG")
    data = bytearray(buffer.getvalue())
    data[16:24] = struct.pack(">II", side, side)
    data[29:33] = struct.pack(">I", zlib.crc32(bytes(data[12:29])))
    return bytes(data)


def truncated_png(array):
    buffer = io.BytesIO()
    Image.fromarray(array).save(buffer, "PNG")
    return buffer.getvalue()[: buffer.tell() // 2]


@pytest.mark.parametrize(
    "name, content, words",
    [
        ("empty.png", b"", "is empty"),
        ("text.png", b"hello world\n" * 20, "is no picture"),
        ("bomb.png", bomb(100_000), "too many pixels"),
        ("large.png", bomb(13_200), "174,240,000 pixels"),
        ("vector.png", b'<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9"/>', "export it as PNG"),
        ("photo.heic", b"\0\0\0\x18ftypheic" + b"\0" * 40, "export it as JPEG"),
        ("clip.png", b"\0\0\0\x18ftypisom" + b"\0" * 40, "is a video"),
        ("page.png", b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "is a document"),
    ],
    ids=lambda value: value if isinstance(value, str) and "." in value else "",
)
def test_what_is_no_picture_gets_one_sentence(tmp_path, name, content, words):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(MediaError, match=words) as caught:
        read_image(tmp_path / name)
    sentence = str(caught.value)
    assert name in sentence and "\n" not in sentence and sentence.endswith(".")


def test_a_truncated_picture_gets_one_sentence(tmp_path, astronaut):
    (tmp_path / "a.png").write_bytes(truncated_png(astronaut))
    with pytest.raises(MediaError, match=r"a\.png is damaged or truncated"):
        read_image(tmp_path / "a.png")


def test_twenty_thousand_pixels_get_one_sentence(tmp_path):
    Image.new("RGB", (20_000, 4)).save(tmp_path / "wide.png")
    with pytest.raises(MediaError, match=r"wide\.png is 20000x4 pixels, more than 16384 on a side"):
        read_image(tmp_path / "wide.png")


def test_missing_file_and_folder(tmp_path):
    with pytest.raises(MediaError, match="does not exist"):
        read_image(tmp_path / "none.png")
    with pytest.raises(MediaError, match="is a folder"):
        read_image(tmp_path)


def test_bad_outputs_leave_nothing(tmp_path, ramp):
    for name, array, words in [
        ("a.xyz", ramp, "unknown suffix"),
        ("none/a.png", ramp, "does not exist"),
        ("a.png", ramp.astype(np.float32), "has to be"),
        ("a.png", ramp[..., :2], "has to be"),
    ]:
        with pytest.raises(MediaError, match=words):
            write_image(tmp_path / name, array)
    assert not list(tmp_path.iterdir())
