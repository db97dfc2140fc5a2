"""The tab Live: the camera's newest frame in, the portrait out, and how long that took from eye to eye.

A frame goes out when an answer has come, and it is the newest then: the queue holds one frame that is being drawn and
one that waits, and a newer one takes the place of the one that waits. The browser stamps a frame when it takes it from
the camera and again when the answer is on the screen, so the latency is the true one.
"""

from __future__ import annotations

import secrets
import threading
import time
from collections import deque
from concurrent.futures import Future
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from animate.errors import OptionError

from .web_page import Page
from .web_parts import example_portrait, gr, portrait_input
from .web_tabs import METHODS, examples

if TYPE_CHECKING:
    import numpy as np

    from animate.live import LivePuppet

    from .web_edit import Studio

SESSIONS = 2  # people who can be live at once
IDLE = 20.0  # seconds without a frame after which a session ends
MOST_BYTES = 1_000_000  # of a camera frame
SIDE = 512  # px of the portrait's longer side


class Newest:
    """One frame is worked on, one may wait; a newer one takes the place of the one that waits.

    work: turns one frame into its answer, in a thread of its own.
    """

    def __init__(self, work):
        self._work = work
        self._waiting: tuple[Any, Future] | None = None
        self._ready = threading.Condition()
        self._closed = False
        self.dropped = 0
        threading.Thread(target=self._run, daemon=True).start()

    def put(self, item: Any) -> Future:
        """A future of the answer; None as its result where a newer frame came first."""
        future: Future = Future()
        with self._ready:
            if self._waiting is not None:
                self.dropped += 1
                self._waiting[1].set_result(None)
            self._waiting = (item, future)
            if self._closed:
                self._waiting = None
                future.set_result(None)
            self._ready.notify()
        return future

    def close(self) -> None:
        with self._ready:
            self._closed = True
            if self._waiting is not None:
                self._waiting[1].set_result(None)
                self._waiting = None
            self._ready.notify()

    def _run(self) -> None:
        while True:
            with self._ready:
                while self._waiting is None and not self._closed:
                    self._ready.wait()
                if self._closed:
                    return
                (item, future), self._waiting = self._waiting, None
            try:
                future.set_result(self._work(item))
            except Exception as error:  # told to whoever asks for the answer
                future.set_exception(error)


@dataclass
class LiveSession:
    """One user's camera and portrait."""

    puppet: LivePuppet
    paint: bool
    seen: float = field(default_factory=time.monotonic)
    drawn: deque = field(default_factory=lambda: deque(maxlen=30))

    def __post_init__(self) -> None:
        self.queue = Newest(self._draw)

    def _draw(self, data: bytes) -> tuple[bytes, float]:
        """A JPEG for a JPEG, and the seconds that it took; b"" where no face is seen."""
        began = time.perf_counter()
        frame = read_jpeg(data)
        image = None if frame is None else self.puppet.draw(frame, self.paint)
        answer = b"" if image is None else write_jpeg(image)
        return answer, time.perf_counter() - began


class Stage:
    """Who is live at the moment."""

    def __init__(self, page: Page, studio: Studio):
        self.page, self.studio = page, studio
        self.sessions: dict[str, LiveSession] = {}
        self._lock = threading.Lock()

    def open(self, portrait: Path, paint: bool) -> str:
        """A key for the camera's frames. Raises OptionError where too many are live, MienError for the portrait."""
        from animate.faces import create_tracker
        from animate.live import LivePuppet

        self._sweep()
        if len(self.sessions) >= SESSIONS:
            raise OptionError(f"{SESSIONS} people are live already: wait until one of them stops.")
        still = self.studio.still(portrait, SIDE)
        key = secrets.token_urlsafe(16)
        with self._lock:
            self.sessions[key] = LiveSession(LivePuppet(still, create_tracker("mediapipe")), paint)
        return key

    def close(self, key: str) -> None:
        with self._lock:
            session = self.sessions.pop(key, None)
        if session is not None:
            session.queue.close()
            session.puppet.face.tracker.close()

    def _sweep(self) -> None:
        for key, session in list(self.sessions.items()):
            if time.monotonic() - session.seen > IDLE:
                self.close(key)

    def routes(self) -> list:
        """Where the browser sends frames to."""
        from starlette.routing import Route

        return [
            Route("/live/{key}", self._frame, methods=["POST"]),
            Route("/live/{key}", self._end, methods=["DELETE"]),
            Route("/live/{key}/rest", self._rest, methods=["POST"]),
        ]

    async def _frame(self, request):
        import asyncio

        from starlette.responses import Response

        session = self.sessions.get(request.path_params["key"])
        if session is None:
            return Response(status_code=404)
        body = bytearray()
        async for part in request.stream():
            body += part
            if len(body) > MOST_BYTES:
                return Response(status_code=413)
        session.seen = time.monotonic()
        answer = await asyncio.wrap_future(session.queue.put(bytes(body)))
        if answer is None:
            return Response(status_code=204, headers={"x-mien": "dropped"})
        picture, seconds = answer
        headers = {"x-mien": "drawn" if picture else "no face", "x-mien-ms": f"{1000 * seconds:.1f}"}
        return Response(picture, 200, headers, "image/jpeg" if picture else "text/plain")

    async def _end(self, request):
        from starlette.responses import Response

        self.close(request.path_params["key"])
        return Response(status_code=204)

    async def _rest(self, request):
        from starlette.responses import Response

        session = self.sessions.get(request.path_params["key"])
        if session is not None:
            session.puppet.rest()
        return Response(status_code=204 if session else 404)


def read_jpeg(data: bytes) -> np.ndarray | None:
    """(H, W, 3) uint8 RGB of a camera frame at most 1280 px wide; None where it is none."""
    import cv2
    import numpy as np

    if not data.startswith(b"\xff\xd8"):
        return None
    image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
    return None if image is None or max(image.shape) > 1280 else np.ascontiguousarray(image[..., ::-1])


def write_jpeg(image: np.ndarray) -> bytes:
    """A picture as JPEG, transparency on white."""
    import cv2
    import numpy as np

    from animate.compositing import flatten

    return cv2.imencode(".jpg", np.ascontiguousarray(flatten(image)[..., ::-1]), [cv2.IMWRITE_JPEG_QUALITY, 88])[
        1
    ].tobytes()


_CAMERA = """
<div class="mien-live">
  <video id="mien-camera" autoplay muted playsinline></video>
  <canvas id="mien-puppet" width="512" height="512"></canvas>
</div>
<p id="mien-live-status" role="status">The camera is off.</p>
"""

#: Runs in the browser: starts and ends the camera, sends frames, draws answers, counts.
SCRIPT = """
async (key) => {
  const say = (text) => { document.getElementById('mien-live-status').textContent = text; };
  const old = window.mienLive; if (old) { old.stop(); }
  if (!key) { say('The camera is off.'); return; }
  const video = document.getElementById('mien-camera'), canvas = document.getElementById('mien-puppet');
  let stream;
  try {
    stream = await navigator.mediaDevices.getUserMedia({ video: { width: 480, height: 360 }, audio: false });
  } catch (error) {
    say('The camera cannot be used (' + error.name + '): allow it, and open the page at localhost or with https.');
    await fetch('live/' + key, { method: 'DELETE' }); return;
  }
  const live = { on: true, key: key, shown: 0, dropped: 0, lost: 0, latency: [], times: [],
    stop() { this.on = false; stream.getTracks().forEach((t) => t.stop()); fetch('live/' + key, { method: 'DELETE' });
             window.mienLive = null; } };
  window.mienLive = live;
  video.srcObject = stream; await video.play();
  const shot = document.createElement('canvas');
  const take = async () => {
    shot.width = video.videoWidth; shot.height = video.videoHeight;
    shot.getContext('2d').drawImage(video, 0, 0);
    return await new Promise((done) => shot.toBlob(done, 'image/jpeg', 0.8));
  };
  let newest = 0;
  const loop = async () => {
    while (live.on) {
      const taken = performance.now();
      const answer = await fetch('live/' + key, { method: 'POST', body: await take() }).catch(() => null);
      if (!live.on) { return; }
      if (!answer || answer.status === 404) { say('The live session has ended.'); live.stop(); return; }
      const what = answer.headers.get('x-mien');
      if (what === 'dropped') { live.dropped++; continue; }
      if (what !== 'drawn') { live.lost++; say('No face is seen by the camera.'); continue; }
      const picture = await createImageBitmap(await answer.blob());
      if (!live.on) { return; }
      if (taken < newest) { live.dropped++; continue; }
      newest = taken;
      canvas.width = picture.width; canvas.height = picture.height;
      canvas.getContext('2d').drawImage(picture, 0, 0);
      await new Promise(requestAnimationFrame);
      if (!live.on) { return; }
      const now = performance.now();
      live.shown++; live.latency.push(now - taken); live.times.push(now);
      if (live.times.length > 30) { live.times.shift(); live.latency.shift(); }
      const span = live.times[live.times.length - 1] - live.times[0];
      const rate = live.times.length > 1 ? 1000 * (live.times.length - 1) / span : 0;
      const mean = live.latency.reduce((a, b) => a + b, 0) / live.latency.length;
      say(rate.toFixed(1) + ' frames/s, ' + mean.toFixed(0) + ' ms from camera to screen, ' +
          live.dropped + ' old frames dropped.');
    }
  };
  loop(); loop();
}
"""


def live_tab(page: Page, stage: Stage) -> None:
    """A portrait that does what the face before the camera does."""

    def start(portrait: str, method: str):
        with page.sentences():
            return stage.open(page.check(portrait, "picture", "portrait"), method == "mini")

    with gr.Row():
        with gr.Column(min_width=300):
            portrait = portrait_input()
            example = example_portrait(page.work)
            examples(example and [[str(example)]], [portrait], ["an astronaut"])
            method = gr.Radio(METHODS, value="mini", label="Drawn by")
            with gr.Row():
                begin = gr.Button("Start the camera", variant="primary", elem_id="live-run")
                rest = gr.Button("This is my neutral face", elem_id="live-rest")
                stop = gr.Button("Stop", variant="stop", elem_id="live-cancel")
            gr.Markdown(
                "Look into the camera with a neutral face when it starts. The camera's pictures stay on this machine."
            )
        with gr.Column(min_width=300):
            gr.HTML(_CAMERA, js_on_load="")
    key = gr.Textbox(visible=False)
    begin.click(start, [portrait, method], key, concurrency_limit=1, api_visibility="private").then(
        None, key, None, js=SCRIPT, api_visibility="private"
    )
    off = """() => {
      if (window.mienLive) { window.mienLive.stop(); }
      document.getElementById('mien-live-status').textContent = 'The camera is off.';
    }"""
    stop.click(None, None, None, js=off, api_visibility="private")
    neutral = "() => { if (window.mienLive) { fetch('live/' + window.mienLive.key + '/rest', { method: 'POST' }); } }"
    rest.click(None, None, None, js=neutral, api_visibility="private")
