"""Long video: which frames go through the network together, in which order, and how their results join.

A plan reads the clip's items (one a frame: landmarks, say) from any iterable, also one of unknown length, and yields
windows in the order in which they are drawn, each with its items. `range(n)` as items gives the bare plan of n frames,
`itertools.count()` an endless one. No plan wraps round, and none holds more items than a few windows need.

Each window is denoised alone, with frames that an earlier window has drawn as *known* frames, which the pipeline holds
at their clean latents at every step. Averaging all windows inside every step (MultiDiffusion, as Follow-Your-Emoji's
public code does) would need the whole clip's latents at once and could neither resume nor begin to write before the
last step; known frames hand the motion on just as well, and make each window a function of the windows before it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import TypeVar

import numpy as np

from animate.errors import OptionError

Item = TypeVar("Item")
Result = TypeVar("Result")
Draw = Callable[["Window", list, Mapping[int, object]], Sequence]


@dataclass(frozen=True)
class Window:
    """Frames that go through the network together.

    Attributes:
        index: 0, 1, 2, … in drawing order.
        frames: their numbers in the clip, ascending.
        weights: for each frame the share of this window's result in the clip's: 0 for a known frame, 1 for one that no
            earlier window has drawn, between them where it is blended over what the window before has drawn.
        finished: how many of the clip's first frames are as they will stay once this window is drawn.
        keep: frames drawn so far that later windows may still want.
    """

    index: int
    frames: tuple[int, ...]
    weights: tuple[float, ...]
    finished: int
    keep: frozenset[int]

    @property
    def known(self) -> tuple[bool, ...]:
        """For each frame whether its result is given rather than drawn."""
        return tuple(weight == 0 for weight in self.weights)

    @property
    def drawn(self) -> tuple[int, ...]:
        """The frames that this window draws."""
        return tuple(frame for frame, weight in zip(self.frames, self.weights, strict=True) if weight > 0)


def ramp(count: int) -> np.ndarray:
    """Shares (count,) float32 of the later window over frames that two windows draw: rising evenly, never 0 or 1.

    The earlier window's share is 1 minus it; the two add up to 1 exactly in float32.
    """
    return (np.arange(1, count + 1) / (count + 1)).astype(np.float32)


def check_windows(length: int, overlap: int = 0) -> None:
    """Raises OptionError unless windows of `length` frames can overlap by `overlap`."""
    if length < 1:
        raise OptionError(f"A window must have at least 1 frame but has {length}.")
    if not 0 <= overlap <= length // 2:
        raise OptionError(f"Windows of {length} frames can overlap by 0 to {length // 2} frames, not by {overlap}.")


def overlapping(items: Iterable[Item], length: int = 16, overlap: int = 4) -> Iterator[tuple[Window, list[Item]]]:
    """One window after the other, each sharing `overlap` frames with the one before.

    The first half of the shared frames (the larger one of an odd number) is known and hands the motion on; the second
    half is drawn by both windows and blended from the earlier to the later one, which spreads what is left of a step.
    The last window ends with the clip and is as long as the others: what it shares beyond that is known. A clip of at
    most `length` frames is one window.

    Raises:
        OptionError: at the first window, for a length or an overlap that does not work.
    """
    check_windows(length, overlap)
    queue = iter(items)
    blend = ramp(overlap // 2).tolist()
    held: list[Item] = []
    end = index = 0
    while True:
        wanted = length - overlap if end else length
        new = list(islice(queue, wanted))
        if not new:
            return
        held = (held + new)[-length:]
        end += len(new)
        frames = tuple(range(end - len(held), end))
        shared = len(held) - len(new)
        faded = blend[: min(len(blend), shared)]
        weights = (*[0.0] * (shared - len(faded)), *faded, *[1.0] * len(new))
        yield Window(index, frames, weights, max(0, end - len(blend)), frozenset(frames)), list(held)
        if len(new) < wanted:
            return
        index += 1


def progressive(items: Iterable[Item], length: int = 16) -> Iterator[tuple[Window, list[Item]]]:
    """Key frames far apart first, then the frames between them (Follow-Your-Emoji, arXiv 2406.01900, section 3.3).

    Every (length - 1)th frame is a key, and so is the clip's last. A key window draws keys alone, as many as it holds;
    the next one begins with the last key of the one before, known. Then each gap between two keys is drawn with both
    ends known. A window that would be shorter (at the clip's end) is filled up on the left with frames that are known.
    A clip of at most `length` frames is one window. Frames drawn from one key window lie at most (length - 1)² apart,
    and so many items are read ahead.

    Raises:
        OptionError: at the first window, for a length under 3.
    """
    if length < 3:
        raise OptionError(f"Windows of key frames need at least 3 frames but have {length}.")
    queue, stride = iter(items), length - 1
    held: dict[int, Item] = {}
    keys: list[int] = []
    end = index = 0
    while True:
        wanted = stride * stride + (0 if end else 1)
        held |= enumerate(islice(queue, wanted), start=end)
        first, end = end, max(held, default=-1) + 1
        if end == first:
            return
        if end <= length:
            yield _window(0, range(end), set(range(end)), end, frozenset(range(end))), list(held.values())
            return
        new_keys = [*(frame for frame in range(first, end) if frame % stride == 0)]
        if new_keys[-1:] != [end - 1]:
            new_keys.append(end - 1)
        begin = keys[-1] if keys else 0
        keys = (keys + new_keys)[-length:]
        keep = frozenset(keys) | frozenset(range(max(0, begin - stride), begin + 1))
        yield _window(index, keys, set(new_keys), begin + 1, keep), [held[key] for key in keys]
        index += 1
        for left, right in zip((begin, *new_keys), new_keys, strict=False):
            if right - left < 2:
                continue
            frames = range(right - stride, right + 1)
            keep = frozenset(keys) | frozenset(frames)
            yield _window(index, frames, set(range(left + 1, right)), right + 1, keep), [held[f] for f in frames]
            index += 1
        held = {frame: item for frame, item in held.items() if frame in keep}
        if end - first < wanted:
            return


def _window(index: int, frames: Iterable[int], new: set[int], finished: int, keep: frozenset[int]) -> Window:
    """A window that blends nothing: what is not new is known."""
    frames = tuple(frames)
    return Window(index, frames, tuple(float(frame in new) for frame in frames), finished, keep)


def draw_windows(pieces: Iterable[tuple[Window, list[Item]]], draw: Draw) -> Iterator[tuple[int, Result]]:
    """Draws a plan; yields (frame number, result) in the clip's order as soon as each frame is finished.

    Args:
        pieces: of `overlapping` or `progressive`.
        draw: called as (window, items, results of the window's known frames by number); returns the results of
            `window.drawn`, in that order: arrays or tensors that can be blended.
    """
    results: dict[int, Result] = {}
    done = 0
    for window, items in pieces:
        known = {frame: results[frame] for frame, is_known in zip(window.frames, window.known, strict=True) if is_known}
        shares = [weight for weight in window.weights if weight > 0]
        for frame, share, new in zip(window.drawn, shares, draw(window, items, known), strict=True):
            results[frame] = new if share == 1 else results[frame] + share * (new - results[frame])
        for frame in range(done, window.finished):
            yield frame, results[frame]
        done = max(done, window.finished)
        results = {frame: result for frame, result in results.items() if frame >= done or frame in window.keep}
    for frame in sorted(frame for frame in results if frame >= done):
        yield frame, results[frame]
