"""What is asked of ffmpeg, and how its answers are read: pure functions, no process."""

from fractions import Fraction

import numpy as np
import pytest

from animate import ffmpeg
from animate.errors import OptionError
from animate.frame_rate import exact_rate, frame_rate, rate_candidates
from animate.probe import parse_banner, parse_packet, shown_size

BANNER = """\
Input #0, mov,mp4,m4a,3gp,3g2,mj2, from 'Stream #0:0: Video: fake, 1x1.mp4':
  Metadata:
    encoder         : Lavf61
  Duration: 00:00:03.12, start: 0.021000, bitrate: 7585 kb/s
  Stream #0:0[0x0]: Video: mjpeg (Baseline), yuvj444p(pc), 600x600, 90k tbr, 90k tbn (attached pic)
  Stream #0:1[0x1](und): Video: h264 (High) (avc1 / 0x31637661), {pixels}, 720x576 [SAR 16:15 DAR 4:3], \
7581 kb/s, 29.97 fps, 59.94 tbr, 30k tbn (default)
    Side data:
      {matrix}: rotation of -90.00 degrees
  Stream #0:2[0x2](eng): Audio: aac (LC) (mp4a / 0x6134706D), 44100 Hz, 5.1, fltp, 123 kb/s (default)
  Stream #0:3[0x3](deu): Audio: mp3, 22050 Hz, mono, fltp, 64 kb/s
At least one output file must be specified
"""


def after(command, option):
    return command[command.index(option) + 1]


@pytest.mark.parametrize("matrix", ["displaymatrix", "Display Matrix"])  # up to, and since, ffmpeg 8
def test_the_banner_tells_size_rotation_and_sound(matrix):
    banner = parse_banner(BANNER.format(pixels="yuv420p(tv, bt709, progressive)", matrix=matrix))
    assert banner.codec == "h264" and banner.size == (720, 576)
    assert banner.pixel_aspect == Fraction(16, 15) and banner.rotation == 90
    assert banner.rates == ("29.97", "59.94") and banner.start == 0.021
    assert (banner.sound.codec, banner.sound.sample_rate, banner.sound.layout) == ("aac", 44100, "5.1")


@pytest.mark.parametrize(
    "pixels, untagged, hdr",
    [
        ("yuv420p", True, False),
        ("yuv420p(tv, progressive)", True, False),
        ("yuv420p(tv, smpte170m/bt470bg/bt709, progressive)", False, False),
        ("yuv420p10le(tv, bt2020nc/bt2020/smpte2084, progressive)", False, True),
        ("gbrp(pc, gbr/bt709/bt709, progressive)", False, False),
    ],
)
def test_the_banner_tells_colour_tags(pixels, untagged, hdr):
    banner = parse_banner(BANNER.format(pixels=pixels, matrix="displaymatrix"))
    assert (banner.untagged_yuv, banner.high_dynamic_range) == (untagged, hdr)


def test_a_file_that_does_not_open_has_no_banner():
    assert parse_banner("[in#0 @ 0x55] Error opening input: Invalid data found when processing input\n") is None


def test_shown_size_has_square_pixels_and_stands_upright():
    assert shown_size((720, 576), Fraction(16, 15), 0) == (768, 576)
    assert shown_size((720, 576), Fraction(16, 15), 270) == (576, 768)


def test_packets_hidden_by_an_edit_list_are_no_frames():
    assert parse_packet("0,  -6000,      0,   3000,  22825, 0x76cb0354") == (0, 3000)
    assert parse_packet("0,  -6000,    600,   3000,    825, 0x76cb0354, F=0x0, S=1") == (600, 3000)
    assert parse_packet("0,  -6000,  -3000,   3000,  22825, 0x76cb0354, F=0x5") is None
    assert parse_packet("0, 0, -9223372036854775808, 3753, 103, 0xc29d292c, F=0x0") == (None, 3753)


RATES = ["24000/1001", "24", "25", "30000/1001", "30", "50", "60000/1001", "60", "12.5", "15", "120", "7.3"]


@pytest.mark.parametrize("rate", RATES)
@pytest.mark.parametrize("ticks", [1000, 600, 90000, 12800])
def test_rounded_time_stamps_give_back_the_exact_rate(rate, ticks):
    rate = Fraction(rate)
    times = np.array([round(i / rate * ticks) for i in range(300)], np.int64)
    assert frame_rate(times, Fraction(1, ticks), (f"{float(rate):.2f}",)) == (rate, False)


def test_time_stamps_overrule_the_rounded_text():
    times = np.arange(100) * 100
    assert frame_rate(times, Fraction(1, 2997), ("29.97",)) == (Fraction(2997, 100), False)


def test_a_few_frames_in_coarse_ticks_get_the_customary_rate():
    assert frame_rate(np.array([0, 33, 66]), Fraction(1, 1000), ("29.97",)) == (Fraction(30000, 1001), False)
    assert frame_rate(np.array([7]), Fraction(1, 1000), ("23.98",)) == (Fraction(24000, 1001), False)


def test_jitter_below_a_quarter_of_a_frame_is_no_variable_rate():
    rng = np.random.default_rng(0)
    times = np.arange(200) * 3000 + rng.integers(-300, 300, 200)
    assert frame_rate(np.sort(times), Fraction(1, 90000), ("30",)) == (Fraction(30), False)


def test_a_gap_makes_the_rate_variable_and_keeps_the_nominal_one():
    times = np.delete(np.arange(100) * 3003, [40, 41])
    assert frame_rate(times, Fraction(1, 90000), ("29.56",)) == (Fraction(30000, 1001), True)


def test_rounded_figures_stand_for_customary_rates_first():
    assert rate_candidates(("29.97", "90k")) == [Fraction(30000, 1001), Fraction(2997, 100)]


@pytest.mark.parametrize("bad", [0, -25, "fast", "1/0", float("nan"), float("inf"), 5000, None])
def test_impossible_rates_are_refused(bad):
    with pytest.raises(OptionError):
        exact_rate(bad)


def test_rates_come_as_fraction_number_or_text():
    assert exact_rate("30000/1001") == Fraction(30000, 1001)
    assert exact_rate(29.97) == Fraction(2997, 100)
    assert exact_rate(25) == 25


def test_commands_are_lists_of_strings_and_open_local_files_only():
    commands = [
        ffmpeg.banner_command("-i.mp4"),
        ffmpeg.packets_command("-i.mp4"),
        ffmpeg.decode_command("-i.mp4", (8, 8)),
        ffmpeg.sound_command("-i.mp4", 16000, 1),
    ]
    for command in commands:
        assert all(isinstance(part, str) for part in command)
        assert after(command, "-protocol_whitelist") == "file" and "-nostdin" in command
        assert after(command, "-i").startswith("file:/") and after(command, "-i").endswith("/-i.mp4")


def test_decoding_passes_frames_on_or_takes_them_by_time():
    plain = ffmpeg.decode_command("a.mp4", (64, 48))
    assert "fps=" not in after(plain, "-vf") and "trim" not in after(plain, "-vf") and "-ss" not in plain
    timed = ffmpeg.decode_command(
        "a.mp4", (64, 48), trim=(None, 3.5), resample=(Fraction(30000, 1001), 1.4), seek=2, matrix="bt709"
    )
    assert after(timed, "-vf").startswith("fps=fps=30000/1001:start_time=1.400000000:round=near,trim=end=3.5")
    assert "in_color_matrix=bt709" in after(timed, "-vf")
    assert timed.index("-ss") < timed.index("-i")


def encode(codec, container, alpha=False, metadata=None):
    return ffmpeg.encode_command(
        "out",
        (64, 48),
        Fraction(30000, 1001),
        codec=codec,
        container=container,
        crf=21,
        alpha=alpha,
        metadata=metadata or {},
    )


def test_encoding_keeps_the_rate_exact_and_tags_the_colours():
    command = encode("h264", "mp4")
    assert after(command, "-framerate") == "30000/1001" and after(command, "-crf") == "21"
    assert "out_color_matrix=bt709" in after(command, "-vf") and "format=yuv420p" in after(command, "-vf")
    assert after(command, "-colorspace") == "bt709" and after(command, "-movflags") == "+faststart"


def test_each_codec_keeps_alpha_in_its_own_pixel_format():
    assert "format=yuva420p," in after(encode("vp9", "webm", alpha=True), "-vf")
    assert "format=yuva444p10le," in after(encode("prores", "mov", alpha=True), "-vf")
    png = encode("png", "image2", alpha=True)
    assert png[len(png) - 1 - png[::-1].index("-pix_fmt") + 1] == "rgba" and png[-1] == "out"


def test_tags_that_mp4_does_not_know_are_still_stored():
    assert after(encode("h264", "mp4", metadata={"title": "a=b; c"}), "-metadata") == "title=a=b; c"
    free = encode("h264", "mp4", metadata={"provenance": "x"})
    assert after(free, "-movflags") == "+faststart+use_metadata_tags"
    assert "-movflags" not in encode("vp9", "webm", metadata={"provenance": "x"})


def mux(encoder, start=0.0):
    return ffmpeg.mux_command(
        "picture.mp4",
        "sound.wav",
        "out.mp4",
        container="mp4",
        encoder=encoder,
        start=start,
        duration=2.0,
        stereo=False,
        alpha=False,
        metadata={},
    )


def test_sound_is_copied_or_cut_at_the_sample():
    copy = mux("copy")
    assert after(copy, "-c:a") == "copy" and "-af" not in copy and after(copy, "-c:v") == "copy"
    cut = mux("aac", 1.25)
    assert after(cut, "-af") == "atrim=start=1.250000000:duration=2.000000000,asetpts=PTS-1.250000000/TB"
    assert after(cut, "-map_metadata") == "-1"


def test_a_complaint_is_short_and_free_of_machinery():
    text = (
        "[mov,mp4 @ 0x55f] Format mov detected only with low score of 1, misdetection possible!\n"
        "[mov,mp4,m4a @ 0x55f4] [error] moov atom not found\n[in#0 @ 0x1] Error opening input: Invalid data\n"
    )
    assert ffmpeg.complaint(text.encode()) == "moov atom not found"
    assert ffmpeg.complaint(b"") == ""
