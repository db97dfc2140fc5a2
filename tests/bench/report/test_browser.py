"""The page in a real browser: clips play, nothing is wider than a phone, nothing is fetched."""

import json
import os
import shutil
import signal
import subprocess
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from bench.report.files import write_report

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
PATIENCE = 60

# Scrolls to the first clip and tells when it has played for a while, and how wide everything is.
PROBE = """
<script>
document.getElementById('cases').scrollIntoView();
const started = Date.now();
const timer = setInterval(() => {
  const videos = [...document.querySelectorAll('video')];
  const played = videos.length > 0 && videos[0].currentTime > 0.08;
  if (!played && Date.now() - started < 20000) return;
  clearInterval(timer);
  fetch('/told', { method: 'POST', body: JSON.stringify({
    played, widths: videos.map(v => v.videoWidth), errors: videos.filter(v => v.error).length,
    page: document.documentElement.scrollWidth, window: innerWidth,
    drawings: [...document.querySelectorAll('svg')].filter(s => s.getBoundingClientRect().height > 100).length,
    tables: document.querySelectorAll('#figures table').length,
    pictures: [...document.querySelectorAll('img')].filter(i => i.naturalWidth > 0 || !i.complete).length,
    fetched: performance.getEntriesByType('resource').map(r => r.name).filter(n => !/^data:|favicon/.test(n)),
  }) });
}, 100);
</script>
"""


@pytest.fixture(scope="module")
def browser() -> str:
    found = next(filter(None, map(shutil.which, BROWSERS)), None)
    if found is None:
        pytest.skip(f"no browser is installed ({', '.join(BROWSERS)})")
    return found


@pytest.fixture(scope="module")
def page(finished, tmp_path_factory) -> str:
    _, files = write_report(finished, tmp_path_factory.mktemp("page"))
    return files["html"].read_text(encoding="utf-8")


def look(browser: str, page: str, folder, width: int) -> dict:
    """What the page says of itself in a window of that width."""
    told = {}
    arrived = threading.Event()

    class Server(BaseHTTPRequestHandler):
        def do_GET(self):
            # Browsers have no windows narrower than 500 px; frames may be.
            frame = f'<iframe src="/page" style="width: {width}px; height: 850px; border: 0"></iframe>'
            body = {"/": frame, "/page": page.replace("</body>", PROBE + "</body>")}.get(self.path, "").encode()
            self.send_response(200 if body else 404)
            self.send_header("Content-Type", "text/html")
            self.end_headers()
            self.wfile.write(body)

        def do_POST(self):
            told.update(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(204)
            self.end_headers()
            arrived.set()

        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Server)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    options = ["--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--remote-debugging-port=0"]
    options += [f"--user-data-dir={folder}", "--window-size=1400,900"]
    command = [browser, *options, f"http://127.0.0.1:{server.server_port}/"]
    with open(folder / "browser.log", "wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log, start_new_session=True)
        try:
            if not arrived.wait(PATIENCE):
                pytest.fail(f"the page said nothing for {PATIENCE} s")
        finally:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            server.shutdown()
            server.server_close()
    return told


@pytest.mark.parametrize("width", [1280, 390])
def test_clips_play_and_everything_fits(browser, page, tmp_path, width):
    told = look(browser, page, tmp_path, width)
    assert told["played"] and told["errors"] == 0 and len(told["widths"]) == 3 and min(told["widths"]) > 0
    assert told["drawings"] >= 3 and told["tables"] >= 4 and told["pictures"] == 3
    assert told["window"] == width and told["page"] <= width
    assert not told["fetched"]
