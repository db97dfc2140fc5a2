"""What files say of where they come from: written, and read again."""

from datetime import UTC, datetime
from fractions import Fraction

import numpy as np
import pytest
from PIL import Image

from animate.errors import MediaError
from animate.media import VideoReader, VideoWriter, probe, write_image
from animate.provenance import SOURCE_TYPE, Provenance, mien_version
from animate.provenance_reading import read_origin

WHEN = datetime(2026, 3, 4, 5, 6, 7, tzinfo=UTC)
SAID = Provenance("talking portrait", "my <own> & model", WHEN)
FRAMES = np.random.default_rng(0).integers(0, 255, (3, 32, 48, 3), dtype=np.uint8)


def write_video(path, provenance=SAID, **options):
    with VideoWriter(path, Fraction(25), provenance=provenance, **options) as writer:
        for frame in FRAMES:
            writer.write(frame)
    return path


def frames_of(path):
    with VideoReader(path) as reader:
        return np.stack(list(reader))


@pytest.mark.parametrize("name", ["a.mp4", "a.m4v", "a.mov", "a.webm", "a.mkv", "a.gif"])
def test_video_says_that_it_is_generated_and_by_what_and_when(tmp_path, name):
    origin = read_origin(write_video(tmp_path / name))
    assert origin.generated and not origin.manifest
    assert origin.facts["digital_source_type"] == SOURCE_TYPE
    assert origin.facts["software"] == f"Mien {mien_version()}"
    assert origin.facts["system"] == "Mien, model my <own> & model"
    assert origin.facts["created"].startswith("2026-03-04T05:06:07")
    assert origin.facts["description"] == f"AI-generated talking portrait, Mien {mien_version()}"


def test_every_png_of_a_folder_says_so(tmp_path):
    write_video(tmp_path / "%03d.png")
    found = [read_origin(path) for path in sorted(tmp_path.glob("*.png"))]
    assert len(found) == 3 and all(origin.generated for origin in found)
    with Image.open(tmp_path / "002.png") as image:  # what other programs see
        assert image.text["Software"] == f"Mien {mien_version()}"
        assert (np.array(image) == FRAMES[1]).all()


@pytest.mark.parametrize("name", ["a.png", "a.jpg", "a.webp", "a.tif"])
def test_picture_says_so_and_stays_the_same_picture(tmp_path, name):
    write_image(tmp_path / f"plain-{name}", FRAMES[0])
    write_image(tmp_path / name, FRAMES[0], SAID)
    assert read_origin(tmp_path / name).generated
    assert not read_origin(tmp_path / f"plain-{name}").generated
    with Image.open(tmp_path / name) as said, Image.open(tmp_path / f"plain-{name}") as plain:
        assert (np.array(said) == np.array(plain)).all()


@pytest.mark.parametrize("name", ["a.mp4", "a.mov", "a.gif"])
def test_frames_do_not_depend_on_it(tmp_path, name):
    said, later = write_video(tmp_path / name), tmp_path / f"later-{name}"
    write_video(later, Provenance(created=datetime(2030, 1, 1, tzinfo=UTC)))
    plain = write_video(tmp_path / f"plain-{name}", None)
    assert (frames_of(said) == frames_of(plain)).all() and (frames_of(later) == frames_of(plain)).all()


def test_words_survive_the_sound(tmp_path, tone):
    for name in ("a.mp4", "a.mov", "a.webm"):
        path = write_video(tmp_path / name, audio=tone)
        assert probe(path).has_audio and read_origin(path).generated


@pytest.fixture
def tone(tmp_path):
    import wave

    with wave.open(str(tmp_path / "tone.wav"), "wb") as sound:
        sound.setparams((1, 2, 16000, 0, "NONE", ""))
        sound.writeframes(np.zeros(8000, "<i2").tobytes())
    return tmp_path / "tone.wav"


def test_a_file_without_such_words_is_not_generated(tmp_path):
    origin = read_origin(write_video(tmp_path / "a.mp4", None))
    assert not origin.generated and "digital_source_type" not in origin.facts


def test_words_are_read_from_attributes_as_well(tmp_path):
    """Other programs write the properties of XMP as attributes."""
    write_image(tmp_path / "a.png", FRAMES[0])
    packet = (
        '<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">'
        '<rdf:Description xmlns:e="http://iptc.org/std/Iptc4xmpExt/2008-02-29/" '
        'e:DigitalSourceType="http://cv.iptc.org/newscodes/digitalsourcetype/compositeWithTrainedAlgorithmicMedia"/>'
        "</rdf:RDF></x:xmpmeta>"
    )
    from PIL.PngImagePlugin import PngInfo

    info = PngInfo()
    info.add_itxt("XML:com.adobe.xmp", packet)
    with Image.open(tmp_path / "a.png") as image:
        image.save(tmp_path / "b.png", pnginfo=info)
    assert read_origin(tmp_path / "b.png").generated


@pytest.mark.parametrize("damage", ["cut", "bomb", "noise"])
def test_damaged_words_are_no_words(tmp_path, damage):
    path = write_video(tmp_path / "a.mp4")
    data = path.read_bytes()
    start = data.index(b"<x:xmpmeta")
    if damage == "cut":
        data = data[: start + 100]
    elif damage == "bomb":
        data = data[:start] + b'<x:xmpmeta><!DOCTYPE a [<!ENTITY b "c">]>' + data[start:]
    else:
        data = data[:start] + bytes(len(data) - start)
    path.write_bytes(data)
    assert not read_origin(path).generated


@pytest.mark.parametrize("content", [b"", b"hello, this is no picture", b"\x89PNG\r\n\x1a\n\xff\xff", b"\xff\xd8\xff"])
def test_what_is_no_media_gets_a_sentence_or_no_words(tmp_path, content):
    (tmp_path / "a.png").write_bytes(content)
    try:
        assert not read_origin(tmp_path / "a.png").generated
    except MediaError as error:
        assert str(error).endswith(".") and "\n" not in str(error)
