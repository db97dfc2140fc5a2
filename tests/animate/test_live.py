"""What is drawn live: frames that give way, sessions that end in the middle of a frame."""

import subprocess
import sys
import threading
import time

import numpy as np
import pytest

from animate.errors import FaceError
from animate.faces import create_tracker
from animate.faces_crop import Roi
from animate.live import Newest

PATIENCE = 10  # seconds


@pytest.fixture
def held():
    """A queue whose work waits for `go`, and the items that were worked on."""
    go, done = threading.Event(), []

    def work(item):
        go.wait(PATIENCE)
        done.append(item)
        return item

    queue = Newest(work, ended=lambda: done.append("ended"))
    queue.go, queue.done = go, done
    yield queue
    go.set()
    queue.close()


def begun(queue, item):
    """The future of an item that is being worked on."""
    future = queue.put(item)
    while not future.running():
        time.sleep(0.001)
    return future


def test_a_frame_that_waits_gives_way_to_a_newer_one(held):
    first = begun(held, 1)
    second, third = held.put(2), held.put(3)
    held.go.set()
    assert (first.result(PATIENCE), second.result(PATIENCE), third.result(PATIENCE)) == (1, None, 3)
    assert held.dropped == 1


def test_after_the_end_nothing_is_drawn(held):
    held.close()
    assert held.put(4).result(PATIENCE) is None and not held.done[:-1]


def test_the_frame_that_is_being_drawn_is_answered_before_the_end(held):
    first = begun(held, 1)
    second = held.put(2)
    held.close()
    assert not held.done and second.result(PATIENCE) is None
    held.go.set()
    assert first.result(PATIENCE) == 1
    held.join(PATIENCE)
    assert held.done == [1, "ended"]


def test_a_browser_that_leaves_does_not_stop_the_queue(held):
    first = begun(held, 1)
    second = held.put(2)
    assert second.cancel()
    third = held.put(3)
    assert third.cancel()
    held.go.set()
    assert first.result(PATIENCE) == 1
    assert held.put(4).result(PATIENCE) == 4
    assert held.done == [1, 4]


def test_what_fails_is_told_and_the_next_one_is_drawn():
    queue = Newest(lambda item: 1 // item)
    with pytest.raises(ZeroDivisionError):
        queue.put(0).result(PATIENCE)
    assert queue.put(1).result(PATIENCE) == 1
    queue.close()


# In a process of its own: what it guards against is a crash of the whole process.
RACE = """
import threading, time
import numpy as np
from animate.errors import FaceError
from animate.faces import create_tracker
from animate.faces_crop import Roi

picture = np.zeros((192, 192, 3), np.uint8)
for pause in (0.0, 0.002, 0.004, 0.006, 0.008, 0.01):
    tracker = create_tracker("mediapipe")
    ended = []

    def look():
        try:
            while True:
                tracker.mesh(picture, Roi(96, 96, 150, 0.0))
                tracker.candidates(picture, thorough=False)
        except FaceError as error:
            ended.append(str(error))

    threads = [threading.Thread(target=look) for _ in range(2)]
    for thread in threads:
        thread.start()
    time.sleep(0.05 + pause)
    tracker.close()
    for thread in threads:
        thread.join(10)
    assert ended == ["This face tracker has been closed: make a new one."] * 2, ended
print("whole")
"""


def test_a_tracker_may_be_closed_while_others_look():
    ran = subprocess.run([sys.executable, "-c", RACE], capture_output=True, text=True, timeout=120)
    assert ran.returncode == 0 and ran.stdout.strip() == "whole", ran.stderr[-2000:]


def test_threads_that_share_a_tracker_see_what_one_sees(astronaut):
    with create_tracker("mediapipe") as tracker:
        face = tracker.detect(astronaut)[0]
        square = Roi.from_landmarks(face.landmarks)
        pictures = [astronaut, np.ascontiguousarray(astronaut[:, ::-1])]
        squares = [square, Roi(astronaut.shape[1] - 1 - square.x, square.y, square.side, -square.angle)]
        alone = [tracker.mesh(*pair).landmarks for pair in zip(pictures, squares, strict=True)]
        together: dict[int, list] = {0: [], 1: []}

        def look(which):
            for _ in range(10):
                together[which].append(tracker.mesh(pictures[which], squares[which]).landmarks)

        threads = [threading.Thread(target=look, args=(which,)) for which in together]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert all(np.array_equal(alone[which], seen) for which in together for seen in together[which])
    with pytest.raises(FaceError, match="closed"):
        tracker.mesh(astronaut, square)


# In a process of its own, as it is about its end; the camera goes off while frames are on their way.
END = """
from animate.animator import PortraitAnimator
from animate.faces import Face, create_tracker
from animate.live import LivePuppet, LiveSession, write_jpeg
from animate.media import read_image
from animate.portrait import Portrait
from animate.still import Still
import sys

image = read_image(sys.argv[1])
tracker = create_tracker("mediapipe")
still = Still(Portrait(image, tracker.detect(image)), PortraitAnimator(method="prior"))
session = LiveSession(LivePuppet(still, tracker), paint=False)
frame = write_jpeg(image)
session.put(frame).result()
futures = [session.put(frame) for _ in range(3)]
session.close()
assert session.ended and all(future.done() for future in futures)
print("whole")
"""


def test_a_process_may_end_right_after_a_session(astronaut, tmp_path):
    from PIL import Image

    path = tmp_path / "portrait.png"
    Image.fromarray(astronaut[:256, 96:352]).save(path)
    for _ in range(3):
        ran = subprocess.run([sys.executable, "-c", END, str(path)], capture_output=True, text=True, timeout=120)
        assert (ran.returncode, ran.stdout.strip()) == (0, "whole"), ran.stderr[-2000:]
