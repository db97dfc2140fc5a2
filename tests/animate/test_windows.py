"""Plans of long videos: what holds for every length, window and overlap."""

import itertools
from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from animate.errors import OptionError
from animate.pipelines.windows import draw_windows, overlapping, progressive, ramp

lengths = st.integers(1, 20)
clips = st.integers(0, 700)


@st.composite
def plans(draw):
    """(number of frames, window length, windows) of either kind of plan."""
    frames, length = draw(clips), draw(lengths)
    if length >= 3 and draw(st.booleans()):
        return frames, length, [window for window, _ in progressive(range(frames), length)]
    overlap = draw(st.integers(0, length // 2))
    return frames, length, [window for window, _ in overlapping(range(frames), length, overlap)]


@given(plans())
def test_windows_ascend_and_stay_inside_the_clip(plan):
    frames, length, windows = plan
    for window in windows:
        assert list(window.frames) == sorted(set(window.frames)) and len(window.weights) == len(window.frames)
        assert 0 <= window.frames[0] and window.frames[-1] < frames
        assert len(window.frames) <= length
    assert [window.index for window in windows] == list(range(len(windows)))


@given(plans())
def test_a_clip_as_long_as_a_window_is_one_and_no_window_of_a_longer_one_that_is_not_of_keys_is_shorter(plan):
    frames, length, windows = plan
    assert (len(windows) == 1) == (0 < frames <= length)
    if frames > length:
        consecutive = [w for w in windows if w.frames[-1] - w.frames[0] == len(w.frames) - 1]
        assert all(len(window.frames) == length for window in consecutive if len(window.drawn) > 1)


@given(plans())
def test_known_frames_are_finished_or_keys_and_every_window_draws_something(plan):
    _, _, windows = plan
    drawn, shares_to_come = set(), Counter(frame for window in windows for frame in window.drawn)
    for window in windows:
        known = {frame for frame, is_known in zip(window.frames, window.known, strict=True) if is_known}
        assert window.drawn and known <= drawn
        assert all(shares_to_come[frame] == 0 for frame in known), "a known frame must not change afterwards"
        drawn |= set(window.drawn)
        shares_to_come.subtract(window.drawn)


@given(plans())
def test_weights_of_every_frame_add_up_to_one_exactly_in_float32(plan):
    frames, _, windows = plan
    total = np.zeros(frames, np.float32)
    for window in windows:
        for frame, weight in zip(window.frames, window.weights, strict=True):
            total[frame] = (np.float32(1) - np.float32(weight)) * total[frame] + np.float32(weight)
    assert (total == 1).all()


@given(plans())
def test_the_clips_ends_are_never_blended(plan):
    frames, _, windows = plan
    for end in {0, frames - 1} if frames else ():
        shares = [w.weights[w.frames.index(end)] for w in windows if end in w.drawn]
        assert shares == [1.0]


@given(plans())
def test_finished_frames_are_never_drawn_again_and_kept_ones_are_few(plan):
    _, length, windows = plan
    for before, after in itertools.pairwise(windows):
        assert before.finished <= min(after.drawn) and before.finished <= after.finished
        assert {f for f, known in zip(after.frames, after.known, strict=True) if known} <= before.keep
        assert len(before.keep) <= 2 * length


@given(plans())
def test_drawing_a_plan_gives_every_frame_once_in_order(plan):
    frames, _, windows = plan
    pieces = ((window, list(window.frames)) for window in windows)
    made = list(draw_windows(pieces, lambda window, items, known: [np.float32(frame) for frame in window.drawn]))
    assert [frame for frame, _ in made] == list(range(frames))
    assert all(value == frame for frame, value in made), "windows that agree must be left as they are by blending"


@given(clips, lengths)
def test_items_come_with_their_windows(frames, length):
    items = [f"item {n}" for n in range(frames)]
    plans = [overlapping(iter(items), length, length // 2)]
    plans += [progressive(iter(items), length)] if length >= 3 else []
    for plan in plans:
        assert all(given == [items[frame] for frame in window.frames] for window, given in plan)


@given(st.integers(300, 700), st.integers(300, 700), st.integers(3, 16))
def test_a_longer_clip_begins_as_a_shorter_one(one, other, length):
    plans = [[w for w, _ in overlapping(range(frames), length, length // 3)] for frames in (one, other)]
    same = min(len(plan) for plan in plans) - 1
    assert plans[0][:same] == plans[1][:same]


def test_windows_of_sixteen_overlap_by_four_and_the_last_is_flushed_to_the_end():
    windows = [window for window, _ in overlapping(range(44))]
    assert [(w.frames[0], w.frames[-1]) for w in windows] == [(0, 15), (12, 27), (24, 39), (28, 43)]
    third = float(np.float32(1 / 3)), float(np.float32(2 / 3))
    assert windows[1].weights == (0, 0, *third, *[1] * 12)
    assert windows[3].weights == (*[0] * 10, *third, *[1] * 4)


def test_key_frames_come_first_then_the_gaps_between_them():
    windows = [window for window, _ in progressive(range(300))]
    assert windows[0].frames == tuple(range(0, 226, 15)) and not any(windows[0].known)
    assert [(w.frames[0], w.frames[-1]) for w in windows[1:16]] == [(n, n + 15) for n in range(0, 225, 15)]
    assert all(w.known == (True, *[False] * 14, True) for w in windows[1:16])
    keys = windows[16]  # the second key window: 225 and the older keys are known, 240 to 299 are new
    assert keys.frames == (*range(75, 300, 15), 299) and keys.drawn == (240, 255, 270, 285, 299)
    assert windows[-1].frames == tuple(range(284, 300)) and windows[-1].drawn == tuple(range(286, 299))


@pytest.mark.parametrize("plan", [overlapping, progressive])
def test_a_plan_reads_an_endless_stream_no_further_than_it_must(plan):
    taken = Counter()

    def stream():
        for n in itertools.count():
            taken["items"] += 1
            yield n

    first = list(itertools.islice(plan(stream(), 9), 40))
    assert len(first) == 40 and taken["items"] <= max(w.frames[-1] for w, _ in first) + 1


@pytest.mark.parametrize("plan", [overlapping, progressive])
def test_memory_does_not_grow_with_the_clip(plan):
    """Items and results that live at once, counted while a plan is drawn."""
    import weakref

    class Thing:
        living = weakref.WeakSet()

        def __init__(self):
            self.living.add(self)

        def __sub__(self, other):
            return self

        __add__ = __rmul__ = __sub__

    def draw(window, items, known):
        return [Thing() for _ in window.drawn]

    def most(frames: int) -> int:
        return max(len(Thing.living) for _ in draw_windows(plan((Thing() for _ in range(frames)), 9), draw))

    assert most(2000) <= most(400) <= 200


def test_blending_rises_evenly_and_leaves_the_ends_to_one_window():
    np.testing.assert_allclose(ramp(3), [0.25, 0.5, 0.75])
    assert ramp(0).shape == (0,)


@pytest.mark.parametrize(("length", "overlap"), [(0, 0), (16, -1), (16, 9), (5, 3)])
def test_windows_that_cannot_be_are_one_sentence(length, overlap):
    with pytest.raises(OptionError, match=r"^[^\n]+\.$"):
        next(overlapping(range(3), length, overlap))


def test_key_windows_need_three_frames():
    with pytest.raises(OptionError, match="at least 3"):
        next(progressive(range(3), 2))
