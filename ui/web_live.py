"""The tab Live: the camera's newest frame in, the portrait out, and how long that took from eye to eye.

The server's queue holds one frame that is being drawn and one that waits, and a newer one takes the place of the one
that waits (`animate.live`). The browser stamps a frame when it takes it from the camera and again when the answer is on
the screen, so the latency is the true one.
"""

from __future__ import annotations

import secrets
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING

from animate.errors import OptionError

from .web_drawing import METHODS, to_the_result
from .web_examples import example_portrait, examples
from .web_page import Page
from .web_parts import gr, portrait_input

if TYPE_CHECKING:
    from animate.live import LiveSession

    from .web_edit import Studio

SESSIONS = 2  # people who can be live at once
IDLE = 20.0  # seconds without a frame after which a session ends
MOST_BYTES = 1_000_000  # of a camera frame
SIDE = 512  # px of the portrait's longer side


class Stage:
    """Who is live at the moment."""

    def __init__(self, page: Page, studio: Studio):
        self.page, self.studio = page, studio
        self.sessions: dict[str, LiveSession] = {}
        self._ending: list[LiveSession] = []
        self._lock = threading.Lock()

    def open(self, portrait: Path, paint: bool) -> str:
        """A key for the camera's frames. Raises OptionError where too many are live, MienError for the portrait."""
        from animate.faces import create_tracker
        from animate.live import LivePuppet, LiveSession

        self._sweep()
        self._check_room()
        still = self.studio.still(portrait, SIDE)
        key = secrets.token_urlsafe(16)
        with self._lock:
            self._check_room()
            self.sessions[key] = LiveSession(LivePuppet(still, create_tracker("mediapipe")), paint)
        return key

    def _check_room(self) -> None:
        if len(self.sessions) >= SESSIONS:
            raise OptionError(f"{SESSIONS} people are live already: wait until one of them stops.")

    def close(self, key: str) -> None:
        """Ends a session once its last frame is answered; does not wait for that."""
        with self._lock:
            session = self.sessions.pop(key, None)
            self._ending = [other for other in self._ending if not other.ended]
            if session is not None:
                self._ending.append(session)
        if session is not None:
            session.close(wait=0)

    def close_all(self) -> None:
        """Ends every session and waits for their last frames."""
        for key in list(self.sessions):
            self.close(key)
        for session in self._ending:
            session.close()

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
        answer = await asyncio.wrap_future(session.put(bytes(body)))
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


_STAGE = """
<div class="mien-live" id="mien-live">
  <canvas id="mien-puppet" width="512" height="512"></canvas>
  <video id="mien-camera" autoplay muted playsinline></video>
  <p>Your portrait moves here once the camera is on.</p>
</div>
<div id="mien-live-status" role="status">The camera is off.</div>
"""

#: Runs in the browser: starts and ends the camera, sends each new frame at most once, mirrored as in a looking-glass,
#: draws answers, counts. Three frames are on their way: one that is drawn, one that waits, one that takes its place.
SCRIPT = """
async (key) => {
  const say = (text) => { document.getElementById('mien-live-status').textContent = text; };
  const old = window.mienLive; if (old) { old.stop(); }
  if (!key) { return; }
  const video = document.getElementById('mien-camera'), canvas = document.getElementById('mien-puppet');
  const stage = document.getElementById('mien-live');
  const leave = () => fetch('live/' + key, { method: 'DELETE' });
  let stream;
  say('Waiting for the camera …');
  try {
    stream = await navigator.mediaDevices.getUserMedia({ video: { width: 480, height: 360 }, audio: false });
  } catch (error) {
    say('The camera cannot be used (' + (error.name || 'no camera') +
        '): allow it, and open the page at localhost or with https.');
    await leave(); return;
  }
  const live = { on: true, key: key, shown: 0, seen: 0, sent: 0, latency: [], times: [],
    stop() { this.on = false; stream.getTracks().forEach((t) => t.stop()); stage.classList.remove('on');
             leave(); window.mienLive = null; } };
  window.mienLive = live;
  video.srcObject = stream; await video.play();
  stage.classList.add('on');
  say('Looking for your face …');
  const waiting = [];
  const arm = () => video.requestVideoFrameCallback
    ? video.requestVideoFrameCallback(tick) : requestAnimationFrame(tick);
  const tick = () => {
    if (!live.on) { return; }
    live.seen++;
    const next = waiting.shift(); if (next) { live.sent++; next(); }
    arm();
  };
  arm();
  const take = async () => {
    const shot = document.createElement('canvas');
    shot.width = video.videoWidth; shot.height = video.videoHeight;
    const brush = shot.getContext('2d');
    brush.translate(shot.width, 0); brush.scale(-1, 1); brush.drawImage(video, 0, 0);
    return await new Promise((done) => shot.toBlob(done, 'image/jpeg', 0.8));
  };
  let newest = 0;
  const loop = async () => {
    while (live.on) {
      await new Promise((done) => waiting.push(done));
      const taken = performance.now();
      const body = await take();
      if (!live.on) { return; }
      const answer = await fetch('live/' + key, { method: 'POST', body: body }).catch(() => null);
      if (!live.on) { return; }
      if (!answer || answer.status === 404) { live.stop(); say('The live session has ended.'); return; }
      const what = answer.headers.get('x-mien');
      if (what === 'dropped' || taken < newest) { continue; }
      if (what !== 'drawn') { say('No face is seen by the camera.'); continue; }
      const picture = await createImageBitmap(await answer.blob());
      if (!live.on) { return; }
      if (taken < newest) { continue; }
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
          Math.max(0, live.seen - live.shown - 3) + ' old frames dropped.');
    }
  };
  loop(); loop(); loop();
}
"""

_OFF = """() => {
  if (window.mienLive) { window.mienLive.stop(); }
  document.getElementById('mien-live-status').textContent = 'The camera is off.';
}"""
_REST = """() => {
  if (window.mienLive) { fetch('live/' + window.mienLive.key + '/rest', { method: 'POST' }); }
}"""


def live_tab(page: Page, stage: Stage) -> None:
    """A portrait that does what the face before the camera does."""

    def start(portrait: str, method: str):
        with page.sentences():
            return stage.open(page.check(portrait, "picture", "portrait"), method == "mini")

    with gr.Row(elem_classes="mien-columns"):
        with gr.Column(min_width=300):
            top = gr.Row()
            portrait = portrait_input()
            with top:
                example = example_portrait(page.work)
                examples(example and [[str(example)]], [portrait], ["an astronaut"], "Try it with")
            method = gr.Radio(METHODS, value="prior" if page.device == "cpu" else "mini", label="Drawn by")
            gr.Markdown(
                "Look into the camera with a calm face when it starts: that face counts as neutral, and *Neutral now* "
                "sets it anew. The camera's pictures stay on this machine."
            )
            with gr.Row(elem_classes="mien-go"):
                begin = gr.Button("Start", variant="primary", elem_id="live-run")
                rest = gr.Button("Neutral now", elem_id="live-rest")
                stop = gr.Button("Stop", variant="stop", elem_id="live-cancel")
        with gr.Column(min_width=300, elem_classes="mien-out", elem_id="live-out"):
            gr.HTML(_STAGE, js_on_load="")
    key = gr.Textbox(visible=False)
    begin.click(start, [portrait, method], key, concurrency_limit=1, api_visibility="private").success(
        None, key, None, js=SCRIPT, api_visibility="private"
    )
    begin.click(None, None, None, js=to_the_result("live"), api_visibility="private")
    stop.click(None, None, None, js=_OFF, api_visibility="private")
    rest.click(None, None, None, js=_REST, api_visibility="private")
