"""Inputs that mean harm, against the running server: no file outside the upload folder can be read, by no route and by
no call, and no upload unpacks into more than the page takes."""

import io
import json
import os
import shutil
import struct
import urllib.error
import urllib.request
import wave
import zipfile
import zlib
from http.client import HTTPConnection, IncompleteRead
from pathlib import Path
from urllib.parse import quote

import pytest

gradio_client = pytest.importorskip("gradio_client", reason="the extra `ui` is not installed")

MARK = b"nobody may read this"
ROUTES = (
    "/gradio_api/file=",
    "/gradio_api/file/",
    "/file=",
    "/file/",
    "/static/",
    "/assets/",
    "/svelte/",
    "/theme/",
    "/gradio_api/proxy=",
    "/gradio_api/stream/x/y/1/",
    "/gradio_api/custom_component/x/client/component/",
    "/custom_component/video/client/component/",
    "/gradio_api/run-history/records/",
    "/gradio_api/call/about/",
    "/live/",
    "/",
)
#: How a path is written to slip through a check.
TRICKS = {
    "as it is": lambda path, base: path,
    "without the first slash": lambda path, base: path.lstrip("/"),
    "two slashes": lambda path, base: "/" + path,
    "up from here": lambda path, base: "../" * 12 + path.lstrip("/"),
    "up, encoded": lambda path, base: "%2e%2e%2f" * 12 + path.lstrip("/"),
    "up, half encoded": lambda path, base: "..%2f" * 12 + path.lstrip("/"),
    "up, encoded twice": lambda path, base: "%252e%252e%252f" * 12 + path.lstrip("/"),
    "up, doubled dots": lambda path, base: "....//" * 12 + path.lstrip("/"),
    "up, backslashes": lambda path, base: "..\\" * 12 + path.lstrip("/"),
    "all encoded": lambda path, base: quote(path, safe=""),
    "overlong slashes": lambda path, base: path.replace("/", "%c0%af"),
    "from the uploads": lambda path, base: f"{base}/../../../../../../..{path}",
    "from the uploads, encoded": lambda path, base: f"{base}/%2e%2e/%2e%2e/%2e%2e/%2e%2e/%2e%2e{path}",
    "a file URL": lambda path, base: f"file://{path}",
    "a file URL, encoded": lambda path, base: quote(f"file://{path}", safe=""),
    "a null byte": lambda path, base: f"{path}%00.png",
    "a null byte before": lambda path, base: f"{base}%00{path}",
    "twice the route": lambda path, base: f"file={path}",
    "proc": lambda path, base: f"/proc/self/root{path}",
    "proc's folder": lambda path, base: f"/proc/self/cwd/{'../' * 12}{path.lstrip('/')}",
    "home": lambda path, base: f"~/{'../' * 6}{path.lstrip('/')}",
}


@pytest.fixture(scope="module")
def secrets(tmp_path_factory, web_page, files):
    """Files that nobody uploaded: a text, a portrait, a clip; and links to them in the upload folder."""
    folder = tmp_path_factory.mktemp("private")
    (folder / "secret.txt").write_bytes(MARK)
    shutil.copy(files / "portrait.png", folder / "secret.png")
    shutil.copy(files / "clip.mp4", folder / "secret.mp4")
    for path in list(folder.iterdir()):
        (web_page.work / "uploads" / f"link{path.suffix}").symlink_to(path)
    (web_page.work / "uploads" / "folder").symlink_to(folder)
    return folder


def asked(web_page, path, method="GET", body=None, headers=None) -> tuple[int, bytes]:
    """Status (500 where the answer breaks off) and body; the path goes out untidied, unlike a browser's."""
    connection = HTTPConnection(web_page.url.split("//")[1].rstrip("/"), timeout=20)
    try:
        connection.putrequest(method, path, skip_accept_encoding=True)
        for name, value in (headers or {}).items():
            connection.putheader(name, value)
        connection.putheader("Content-Length", str(len(body or b"")))
        connection.endheaders(body)
        answer = connection.getresponse()
        return answer.status, answer.read()
    except IncompleteRead as cut:
        return 500, cut.partial
    finally:
        connection.close()


@pytest.mark.parametrize("route", ROUTES)
def test_no_route_serves_a_file_that_was_not_uploaded(web_page, secrets, route):
    project = Path(__file__).parents[2] / "pyproject.toml"
    known = {secrets / "secret.txt": MARK, project: b"[build-system]", Path("/etc/passwd"): b"root:"}
    for path, content in known.items():
        for trick, write in TRICKS.items():
            status, body = asked(web_page, route + write(str(path), web_page.work / "uploads"))
            assert content not in body, (path, trick)
            assert status >= 400 or b"<html" in body, (path, trick, status)


@pytest.mark.parametrize("method", ["GET", "HEAD"])
@pytest.mark.parametrize("name", ["link.txt", "link.png", "folder/secret.txt", "../private/x", ".", "..", ""])
def test_links_and_folders_in_the_upload_folder_are_not_followed(web_page, secrets, method, name):
    status, body = asked(web_page, f"/gradio_api/file={web_page.work}/uploads/{name}", method)
    assert status >= 400 and MARK not in body


@pytest.mark.parametrize(
    "path",
    [
        "/gradio_api/process_recording",
        "/gradio_api/component_server",
        "/gradio_api/vibe-edit",
        "/gradio_api/run-history/connect",
        "/gradio_api/profiling/clear",
        "/monitoring",
        "/login",
        "/docs",
        "/gradio_api/file=http://127.0.0.1/",
        "/gradio_api/file=https://example.org/x.png",
    ],
)
def test_what_the_page_does_not_use_is_not_there(web_page, path):
    for method in ("GET", "POST"):
        assert asked(web_page, path, method, b"{}")[0] == 404


def test_a_file_that_was_uploaded_is_served(web_page, files):
    path = web_page.work / "uploads" / "mine.png"
    shutil.copy(files / "portrait.png", path)
    web_page.blocks.upload_file_set.add(str(path))
    assert asked(web_page, f"/gradio_api/file={path}") == (200, path.read_bytes())


def file_shapes(path: str, web_page) -> list:
    """Ways to name a file in a call."""
    base = web_page.work / "uploads"
    data = {"meta": {"_type": "gradio.FileData"}}
    own = f"{web_page.url}gradio_api/file={path}"
    shapes = [{"path": write(path, base)} | data for write in TRICKS.values()]
    shapes += [{"path": f"{base}/link{Path(path).suffix}"} | data, {"path": f"{base}/folder/{Path(path).name}"} | data]
    shapes += [{"path": path, "url": url} | data for url in (own, f"file://{path}", None)]
    shapes += [{"url": url} | data for url in (own, f"file://{path}", path)]
    shapes += [{"path": own} | data, {"path": path + "\0.png"} | data, {"path": path, "is_stream": True} | data]
    shapes += [{"path": path}, {"path": [path]} | data, {"path": {"path": path}} | data]
    shapes += [{"path": path, "orig_name": "../../x.png"} | data, path, [path], [{"path": path} | data]]
    shapes += [{"video": {"path": path} | data}, {"image": {"path": path} | data}, {"url": f"data:,{path}"} | data]
    return shapes


CALLS = {
    "animate": ["portrait", "motion", "clip", "motion_file"],
    "talk": ["portrait", "speech"],
    "dub": ["video", "speech"],
    "edit": ["portrait"],
    "group": ["portrait", "cast", "clips"],
}


@pytest.mark.parametrize("name", CALLS)
def test_no_call_reads_a_file_that_was_not_uploaded(web_page, secrets, name):
    for path in (secrets / "secret.png", secrets / "secret.mp4", Path("/etc/passwd"), Path("/dev/stdin")):
        for shape in file_shapes(str(path), web_page):
            arguments = dict.fromkeys(CALLS[name], shape) | {"motion": "smile", "cast": "left=smile"}
            arguments = {key: arguments[key] for key in CALLS[name]}
            said = called(web_page, name, arguments | ({} if name == "edit" else {"method": "prior"}))
            assert "event: complete" not in said and "root:" not in said, (path, shape)


def called(web_page, name, arguments) -> str:
    """Everything that the server says to a call."""
    headers = {"Content-Type": "application/json"}
    status, body = asked(web_page, f"/gradio_api/call/v2/{name}", "POST", json.dumps(arguments).encode(), headers)
    if status != 200:
        return body.decode()
    event = json.loads(body)["event_id"]
    with urllib.request.urlopen(f"{web_page.url}gradio_api/call/{name}/{event}", timeout=60) as answer:
        return answer.read().decode()


WRONG = ["x" * 300, [1], {"a": 1}, 1e30, float("nan"), 10**400]


@pytest.mark.parametrize(
    ("name", "key", "wrong", "why"),
    [
        ("edit", "yaw", [*WRONG, True, ""], "yaw must be "),
        ("animate", "seed", [*WRONG, True, ""], "seed must be "),
        ("animate", "relative", [*WRONG, "yes", 1], "relative must be true or false"),
        ("animate", "motion", [*WRONG, True, "dance"], "motion must be "),
        ("talk", "emotion", [*WRONG, True, "bored"], "emotion must be "),
        ("dub", "face", [*WRONG[1:], True], "face must be a text"),
        ("group", "cast", [*WRONG[1:], True], "cast must be a text"),
    ],
)
def test_a_value_of_the_wrong_kind_is_told_in_a_sentence(web_page, capfd, name, key, wrong, why):
    for value in wrong:
        said = called(web_page, name, {key: value})
        assert "event: error" in said and why in said, (value, said)
        assert len(json.loads(said.rpartition("data: ")[2])["error"]) < 200, value
    assert "Traceback" not in capfd.readouterr().err


def test_a_call_that_does_not_fit_is_told_in_a_sentence(web_page, capfd):
    assert "edit has no parameter 'smirk'" in called(web_page, "edit", {"smirk": 1})
    assert "There is nothing here" in called(web_page, "nonsense", {})
    for name, wanted in {"animate": "portrait", "talk": "portrait", "dub": "video", "edit": "portrait"}.items():
        assert f"Give a {wanted} first" in called(web_page, name, {})
    assert "Traceback" not in capfd.readouterr().err


def test_no_listener_of_the_page_reads_a_file_that_was_not_uploaded(web_page, secrets):
    """Those as well that have no name, which the page itself calls by their number."""
    config = json.loads(asked(web_page, "/config")[1])
    kinds = {part["id"]: part["type"] for part in config["components"]}
    reading = {"image", "video", "audio", "file"}
    files = {"image": ".png", "video": ".mp4", "audio": ".mp4", "file": ".txt"}
    tried = 0
    for listener in config["dependencies"]:
        if not listener["backend_fn"] or not reading & {kinds[part] for part in listener["inputs"]}:
            continue
        for shape in ("{}", "{base}/link{suffix}", "{base}/../../../../../..{}"):
            data = []
            for part in listener["inputs"]:
                suffix = files.get(kinds[part])
                path = shape.format(f"{secrets}/secret{suffix}", base=web_page.work / "uploads", suffix=suffix)
                data.append({"path": path, "meta": {"_type": "gradio.FileData"}} if suffix else "left")
            body = json.dumps({"data": data, "fn_index": listener["id"], "session_hash": "intruder"}).encode()
            tried += 1
            status, said = asked(
                web_page, "/gradio_api/run/predict", "POST", body, {"Content-Type": "application/json"}
            )
            assert status >= 400 and MARK not in said, listener["id"]
    assert tried > 20


def png(width: int, height: int, *chunks: tuple[bytes, bytes]) -> bytes:
    """A PNG that says a size, with a few bytes of picture."""
    head = (b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    data = b"\x89PNG\r\n\x1a\n"
    for name, content in (head, *chunks, (b"IDAT", zlib.compress(bytes(1000))), (b"IEND", b"")):
        data += struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))
    return data


def zipped() -> bytes:
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("zeros", bytes(5_000_000))
    return data.getvalue()


def gif(width: int, height: int) -> bytes:
    return b"GIF89a" + struct.pack("<HH", width, height) + b"\x80\x00\x00" + bytes(6) + b";"


BOMBS = {
    "wide.png": png(60_000, 60_000),
    "text.png": png(64, 64, (b"zTXt", b"k\0\0" + zlib.compress(bytes(100_000_000)))),
    "profile.png": png(64, 64, (b"iCCP", b"k\0\0" + zlib.compress(bytes(100_000_000)))),
    "wide.gif": gif(65_535, 65_535),
    "wide.bmp": b"BM" + struct.pack("<IHHIIiiHHIIiiII", 58, 0, 0, 54, 40, 60_000, 60_000, 1, 24, 0, 0, 1, 1, 0, 0),
    "archive.png": zipped(),
    "picture.svg": b"<svg xmlns='http://www.w3.org/2000/svg'><image href='file:///etc/passwd'/></svg>",
    "page.jpg": b"<!doctype html><script>alert(1)</script>",
    "script.png": b"%!PS\n(/etc/passwd) run",
}


@pytest.mark.parametrize("name", BOMBS)
def test_a_picture_that_is_a_bomb_or_none_is_refused_in_one_sentence(web_page, name, tmp_path):
    (tmp_path / name).write_bytes(BOMBS[name])
    before = resident_mb()
    with pytest.raises(Exception) as error:
        client = gradio_client.Client(web_page.url, verbose=False)
        client.predict(gradio_client.handle_file(str(tmp_path / name)), api_name="/edit")
    said = str(error.value)
    assert name in said and "Traceback" not in said and "unforeseen" not in said and "did not foresee" not in said
    assert resident_mb() < before + 300


@pytest.mark.parametrize("kind", ["image/png", "text/html", "application/x-msdownload", "../../etc/passwd"])
def test_the_type_that_a_browser_tells_counts_for_nothing(web_page, kind):
    body = b'--x\r\nContent-Disposition: form-data; name="files"; filename="a.png"\r\n'
    body += f"Content-Type: {kind}\r\n\r\n".encode() + b"<html><script>alert(1)</script></html>\r\n--x--\r\n"
    status, answer = asked(
        web_page, "/gradio_api/upload", "POST", body, {"Content-Type": "multipart/form-data; boundary=x"}
    )
    assert status == 200
    path = json.loads(answer)[0]
    assert Path(path).resolve().is_relative_to((web_page.work / "uploads").resolve())
    said = called(web_page, "edit", {"portrait": {"path": path, "meta": {"_type": "gradio.FileData"}}})
    assert "event: error" in said and "a.png is a web page" in said
    with urllib.request.urlopen(f"{web_page.url}gradio_api/file={path}") as served:  # never run as a page
        assert served.headers["content-type"].startswith("image/") or "attachment" in served.headers.get(
            "content-disposition", ""
        )


def test_a_sound_that_is_longer_than_it_says_is_refused(web_page, tmp_path):
    from ui.web_limits import Limits, check_upload

    path = tmp_path / "liar.wav"
    with wave.open(str(path), "wb") as sound:
        sound.setparams((1, 1, 8000, 0, "NONE", ""))
        sound.writeframes(bytes(8000 * 30))
    data = bytearray(path.read_bytes())
    data[4:8] = data[40:44] = b"\xff\xff\xff\xff"  # as a stream's
    path.write_bytes(data)
    with pytest.raises(Exception, match="lasts"):
        check_upload(path, "sound", Limits(seconds=5), tmp_path)


def test_a_call_without_a_file_cannot_be_as_large_as_one(web_page):
    connection = HTTPConnection(web_page.url.split("//")[1].rstrip("/"), timeout=20)
    connection.putrequest("POST", "/gradio_api/call/about")
    connection.putheader("Content-Length", "2000000")
    connection.endheaders()
    assert connection.getresponse().status == 413
    connection.close()


def test_a_camera_frame_that_is_a_bomb_is_no_face(web_page):
    from animate.live import read_jpeg

    small = b"\xff\xd8\xff\xc0\x00\x11\x08" + struct.pack(">HH", 65_000, 65_000) + b"\x03\x01\x22\x00\x02\x11\x01"
    assert read_jpeg(small + b"\x03\x11\x01\xff\xd9") is None
    assert asked(web_page, "/live/nobody", "POST", small)[0] == 404


def resident_mb() -> float:
    """Memory of this process, which serves the page, MiB."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20
