"""The page's API and its locks, on a real server on localhost."""

import json
import shlex
import shutil
import urllib.error
import urllib.request
from http.client import HTTPConnection
from pathlib import Path

import numpy as np
import pytest

gradio_client = pytest.importorskip("gradio_client", reason="the extra `ui` is not installed")

NEUTRAL = [1, 1, 1, 1, 1, 1, 1]  # strengths
QUICK = {"method": "prior", "seed": 0}


@pytest.fixture(scope="module")
def client(web_page):
    return gradio_client.Client(web_page.url, verbose=False)


def upload(path):
    return gradio_client.handle_file(str(path))


def animate(client, portrait, **options):
    options = {"motion": "smile", "clip": None, "motion_file": None, **QUICK, **options}
    return client.predict(portrait=portrait, api_name="/animate", **options)


def frames_of(path) -> np.ndarray:
    from animate.media import VideoReader

    with VideoReader(path) as reader:
        return np.stack(list(reader))


def test_every_tab_is_a_named_endpoint_and_nothing_else_is(client):
    names = set(client.view_api(return_format="dict")["named_endpoints"])
    assert names == {"/animate", "/talk", "/dub", "/edit", "/group", "/about"}


def test_animate_and_its_command_draw_the_same_frames(client, files, motion_file, tmp_path, monkeypatch, mien):
    result = animate(
        client,
        upload(files / "portrait.png"),
        motion_file=upload(motion_file),
        lips=1.4,
        region="exp",
        method="mini",
        seed=3,
    )
    video, said, command, report = result
    assert report["frames"] == 10 and "10 frames of 256×256" in said
    assert str(Path(video).name) == "portrait-clip.mp4"
    assert "/tmp" not in json.dumps(report) and "uploads" not in json.dumps(report)
    for name in ("portrait.png", "clip.safetensors"):
        shutil.copy(files / name, tmp_path / name)
    monkeypatch.chdir(tmp_path)
    words = shlex.split(command)
    assert words[:4] == ["mien", "animate", "-s", "portrait.png"] and "clip.safetensors" in words
    assert mien(*words[1:])[0] == 0
    assert np.array_equal(frames_of(video), frames_of(tmp_path / words[words.index("-o") + 1]))


def test_a_clip_counts_before_a_motion(client, files):
    video, _, command, report = animate(client, upload(files / "portrait.png"), clip=upload(files / "clip.mp4"))
    assert "-d clip.mp4" in command and "-m" not in command.split()
    assert report["sound"] != "none" and len(frames_of(video)) == 10


def test_the_readmes_call_works(web_page, files, tmp_path, monkeypatch):
    import re

    from animate.media import read_image, write_image

    text = (Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8")
    code = re.search(r"```python\n(from gradio_client.*?)```", text, re.DOTALL).group(1)
    write_image(tmp_path / "portrait.jpg", read_image(files / "portrait.png"))
    monkeypatch.chdir(tmp_path)
    names = {}
    exec(code.replace("http://127.0.0.1:7860", web_page.url), names)
    assert Path(names["video"]).stat().st_size > 1000 and names["report"]["frames"] == 77


def test_talk(client, files):
    _, _, command, report = client.predict(
        portrait=upload(files / "portrait.png"), speech=upload(files / "tone.wav"), api_name="/talk", **QUICK
    )
    assert report["frames"] == 25 and command.startswith("mien talk -s portrait.png") and "-a tone.wav" in command


def test_dub(client, files):
    video, _, command, _ = client.predict(
        video=upload(files / "clip.mp4"), speech=upload(files / "tone.wav"), longer="trim", api_name="/dub", **QUICK
    )
    assert len(frames_of(video)) == 10 and "--longer trim" in command


def test_edit_gives_a_picture_and_a_key_frame_that_draws_it(client, files, tmp_path, mien):
    from animate.media import read_image

    shown, picture, key, command = client.predict(
        portrait=upload(files / "portrait.png"), yaw=10, smile=1, api_name="/edit"
    )
    drawn = read_image(picture)
    assert drawn.shape == (256, 256, 3) and np.abs(drawn.astype(int) - read_image(files / "portrait.png")).max() > 40
    assert "-m portrait-edited.safetensors" in command and shown
    out = tmp_path / "frame-%05d.png"
    assert mien("animate", "-s", files / "portrait.png", "-m", key, "-o", out)[0] == 0
    assert np.array_equal(read_image(next(tmp_path.glob("frame-*.png"))), drawn)


def test_what_edit_shows_and_saves_says_where_it_comes_from(client, files, mien):
    from animate.signing import available

    shown, picture, _, _ = client.predict(portrait=upload(files / "portrait.png"), smile=1, api_name="/edit")
    for file in (shown, picture):
        code, said, _ = mien("verify", file, "--json")
        said = json.loads(said)
        assert code == 0 and said["generated"], file
        assert bool(said["signature"]) == available(), file


def test_edit_shows_a_transparent_portrait_on_grey_and_saves_it_transparent(client, files, tmp_path):
    from animate.media import read_image, write_image

    image = read_image(files / "portrait.png")
    cut = np.dstack([image, np.full(image.shape[:2], 255, np.uint8)])
    cut[:16, :16, 3] = 0
    write_image(tmp_path / "cut.png", cut)
    shown, picture, _, _ = client.predict(portrait=upload(tmp_path / "cut.png"), smile=1, api_name="/edit")
    assert np.abs(read_image(shown)[2:8, 2:8].astype(int) - 128).max() <= 4
    assert (read_image(picture)[2:8, 2:8, 3] == 0).all()


def test_what_a_call_leaves_out_has_the_pages_value(client, files):
    _, _, command, _ = client.predict(portrait=upload(files / "portrait.png"), api_name="/animate", **QUICK)
    assert "-m smile" in command and shlex.split(command)[-2:] == ["--method", "prior"]


def test_an_empty_number_is_its_default(client, files, motion_file):
    _, _, command, _ = animate(
        client, upload(files / "portrait.png"), motion_file=upload(motion_file), seed=None, trim_start=None
    )
    assert "--seed" not in command and "--trim-start" not in command


def test_a_seed_that_the_command_line_refuses_is_refused(client, files):
    with pytest.raises(Exception, match="4294967295"):
        animate(client, upload(files / "portrait.png"), seed=2**40)


def test_dub_does_not_tell_which_files_the_server_has(client, files):
    said = []
    for face in (__file__, f"{__file__}-not-there"):
        with pytest.raises(Exception) as told:
            client.predict(
                video=upload(files / "clip.mp4"), speech=upload(files / "tone.wav"), face=face, api_name="/dub", **QUICK
            )
        said.append(str(told.value).replace(face[:60], "FACE"))
    assert said[0] == said[1] and "a number or an order" in said[0]


def test_two_clips_of_one_name_are_told(client, duo, tmp_path):
    (tmp_path / "other").mkdir()
    other = shutil.copy(duo / "slow.mp4", tmp_path / "other" / "slow.mp4")
    with pytest.raises(Exception, match=r"Two clips are called slow\.mp4"):
        client.predict(
            portrait=upload(duo / "duo.png"),
            cast="left=slow.mp4\nright=slow.mp4",
            clips=[upload(duo / "slow.mp4"), upload(other)],
            api_name="/group",
            **QUICK,
        )


def test_group(client, duo):
    clips = [upload(duo / "slow.mp4")]
    _, _, command, report = client.predict(
        portrait=upload(duo / "duo.png"),
        cast="left=slow.mp4",
        clips=clips,
        api_name="/group",
        **QUICK,
    )
    assert "-d left=slow.mp4" in command and report["frames"] == 2


def test_about_lists_licences_and_no_path(client):
    facts = client.predict(api_name="/about")
    assert {"mini", "talk"} <= {record["name"] for record in facts["weights"]}
    assert str(Path.home()) not in json.dumps(facts) and "/embedded/" not in json.dumps(facts)


def test_mistakes_are_the_command_lines_sentences(client, files, web_page):
    with pytest.raises(Exception, match="No face is found in noise.png"):
        animate(client, upload(files / "noise.png"))
    with pytest.raises(Exception, match="Give a portrait first"):
        animate(client, None)
    with pytest.raises(Exception, match="portrait.png is a single picture|is a picture|video") as error:
        animate(client, upload(files / "portrait.png"), clip=upload(files / "portrait.png"))
    assert str(web_page.work) not in str(error.value)


@pytest.mark.parametrize(
    "path", ["/etc/passwd", "/proc/self/environ", "uploads/../../../etc/passwd", "~/.ssh/id_rsa", "file:///etc/passwd"]
)
def test_no_file_outside_the_upload_folder_can_be_read_by_a_call(client, path):
    with pytest.raises(Exception) as error:
        animate(client, {"path": path, "meta": {"_type": "gradio.FileData"}})
    assert "root:" not in str(error.value)


def test_a_file_of_this_checkout_is_not_a_valid_input(client):
    path = str(Path(__file__).resolve())
    with pytest.raises(Exception):  # noqa: B017
        animate(client, {"path": path, "meta": {"_type": "gradio.FileData"}})


def test_an_address_is_not_fetched(client, web_page):
    address = f"{web_page.url}favicon.ico"
    with pytest.raises(Exception):  # noqa: B017
        animate(client, {"path": address, "url": address, "meta": {"_type": "gradio.FileData"}})


@pytest.mark.parametrize(
    "path",
    [
        "gradio_api/file=/etc/passwd",
        "gradio_api/file=../../../../etc/passwd",
        "gradio_api/file=%2Fetc%2Fpasswd",
        "file=/etc/passwd",
        "gradio_api/proxy=https://example.org/",
        "gradio_api/file=pyproject.toml",
        "live/nobody",
    ],
)
def test_no_file_of_the_server_is_served(web_page, path):
    with pytest.raises(urllib.error.HTTPError) as error:
        urllib.request.urlopen(web_page.url + path)
    assert error.value.code in (400, 401, 403, 404, 405)


def test_an_upload_of_two_gigabytes_is_refused_before_it_is_read(web_page):
    host = web_page.url.split("//")[1].rstrip("/")
    connection = HTTPConnection(host, timeout=10)
    connection.putrequest("POST", "/gradio_api/upload")
    connection.putheader("Content-Type", "multipart/form-data; boundary=x")
    connection.putheader("Content-Length", str(2 * 10**9))
    connection.endheaders()
    answer = connection.getresponse()
    assert answer.status == 413
    assert json.loads(answer.read())["error"] == "The file is larger than 8 MB: give a smaller one."


def test_an_upload_without_a_length_is_cut_off_as_well(web_page):
    host = web_page.url.split("//")[1].rstrip("/")
    head = b'--x\r\nContent-Disposition: form-data; name="files"; filename="a.png"\r\nContent-Type: image/png\r\n\r\n'

    def parts():
        yield head
        for _ in range(12):
            yield bytes(1_000_000)
        yield b"\r\n--x--\r\n"

    connection = HTTPConnection(host, timeout=10)
    headers = {"Content-Type": "multipart/form-data; boundary=x", "Transfer-Encoding": "chunked"}
    try:
        connection.request("POST", "/gradio_api/upload", parts(), headers, encode_chunked=True)
        status = connection.getresponse().status
    except (BrokenPipeError, ConnectionResetError):
        status = 413
    assert status in (400, 413)


@pytest.mark.parametrize("name", ["../../evil.png", "..\\..\\evil.png", "/etc/cron.d/evil.png", "a\x00b.png"])
def test_a_name_with_a_path_stays_in_the_upload_folder(web_page, files, name):
    host = web_page.url.split("//")[1].rstrip("/")
    body = b'--x\r\nContent-Disposition: form-data; name="files"; filename="' + name.encode() + b'"\r\n\r\n'
    body += (files / "portrait.png").read_bytes() + b"\r\n--x--\r\n"
    connection = HTTPConnection(host, timeout=10)
    headers = {"Content-Type": "multipart/form-data; boundary=x"}
    connection.request("POST", "/gradio_api/upload", body, headers)
    answer = connection.getresponse()
    if answer.status == 200:
        for path in json.loads(answer.read()):
            assert Path(path).resolve().is_relative_to((web_page.work / "uploads").resolve())


def test_the_browser_is_told_to_ask_nobody_else(web_page):
    with urllib.request.urlopen(web_page.url) as answer:
        assert "default-src 'self'" in answer.headers["content-security-policy"]
        assert answer.headers["x-content-type-options"] == "nosniff"
        page = answer.read().decode()
    assert "fonts.googleapis.com" not in page


def test_jobs_leave_no_folder_behind(client, files, web_page):
    animate(client, upload(files / "portrait.png"), motion="wink")
    assert not list(web_page.work.glob("job-*"))


def test_live_draws_the_newest_frame(web_page, files, live_key):
    from animate.live import write_jpeg
    from animate.media import read_image

    frame = write_jpeg(read_image(files / "portrait.png"))
    for body, kind in (
        (frame, "drawn"),
        (write_jpeg(np.full((64, 64, 3), 128, np.uint8)), "no face"),
        (b"x", "no face"),
    ):
        request = urllib.request.Request(f"{web_page.url}live/{live_key}", body, method="POST")
        with urllib.request.urlopen(request) as answer:
            assert answer.headers["x-mien"] == kind
            assert answer.read().startswith(b"\xff\xd8") == (kind == "drawn")


def test_cameras_go_off_in_the_middle_of_frames(web_page, files):
    from concurrent.futures import ThreadPoolExecutor

    from animate.live import write_jpeg
    from animate.media import read_image

    shutil.copy(files / "portrait.png", web_page.work / "uploads" / "off.png")
    frame = write_jpeg(read_image(files / "portrait.png"))

    def send(key):
        request = urllib.request.Request(f"{web_page.url}live/{key}", frame, method="POST")
        try:
            with urllib.request.urlopen(request, timeout=60) as answer:
                return answer.status
        except urllib.error.HTTPError as error:
            return error.code

    with ThreadPoolExecutor(3) as cameras:
        for _ in range(6):
            key = web_page.stage.open(web_page.work / "uploads" / "off.png", paint=True)
            assert send(key) == 200
            answers = [cameras.submit(send, key) for _ in range(3)]
            off = urllib.request.Request(f"{web_page.url}live/{key}", method="DELETE")
            assert urllib.request.urlopen(off, timeout=60).status == 204
            assert {answer.result() for answer in answers} <= {200, 204, 404}


@pytest.fixture
def live_key(web_page, files):
    shutil.copy(files / "portrait.png", web_page.work / "uploads" / "live.png")
    key = web_page.stage.open(web_page.work / "uploads" / "live.png", paint=False)
    yield key
    web_page.stage.close(key)
