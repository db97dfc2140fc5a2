"""Exact rational frame rates from rounded figures and from time stamps."""

from fractions import Fraction

import numpy as np

from animate.errors import OptionError

NTSC_RATES = tuple(Fraction(n * 1000, 1001) for n in (12, 15, 24, 30, 48, 60, 72, 90, 96, 120, 240))


def exact_rate(fps: Fraction | int | float | str) -> Fraction:
    """A frame rate as an exact fraction; a float is taken as the nearest rate with a denominator up to 1001.

    Raises:
        OptionError: not a number, or not within (0, 1000].
    """
    try:
        rate = Fraction(fps).limit_denominator(1001) if isinstance(fps, float) else Fraction(fps)
    except (ValueError, TypeError, OverflowError, ZeroDivisionError) as error:
        raise OptionError(f"the frame rate {fps!r} is not a number such as 25 or 30000/1001.") from error
    if not 0 < rate <= 1000 or rate.denominator > 1_000_000 or rate.numerator > 100_000_000:
        raise OptionError(f"the frame rate {fps} is out of range: give more than 0 and at most 1000.")
    return rate


def rate_candidates(texts: tuple[str, ...]) -> list[Fraction]:
    """Exact rates that ffmpeg's rounded figures ("29.97") may stand for, the customary ones first."""
    exact = []
    for text in texts:
        if text.endswith("k"):
            continue
        value = Fraction(text)
        if value <= 0:
            continue
        exact += [rate for rate in NTSC_RATES if abs(rate - value) <= Fraction(6, 1000)]
        exact.append(value)
    return list(dict.fromkeys(exact))


def frame_rate(times: np.ndarray, time_base: Fraction, texts: tuple[str, ...]) -> tuple[Fraction, bool]:
    """The exact rate of sorted time stamps, and whether the rate varies.

    A rate is exact if every stamp lies within one tick of its beat: that tells 30000/1001 from 30 even in
    containers that round to milliseconds. Where none is, a rate whose beat no frame leaves by a quarter of a
    frame is taken as constant; else the clip is variable and the rate is the nominal one, the median's,
    snapped to a customary rate.
    """
    customary = rate_candidates(texts)
    if len(times) < 2:
        return (customary[0] if customary else Fraction(25)), False
    steps = np.diff(times)
    even = bool((steps == steps[0]).all()) and steps[0] > 0
    own = [1 / (int(steps[0]) * time_base)] if even else []
    mean = (len(times) - 1) / ((int(times[-1]) - int(times[0])) * time_base) if times[-1] > times[0] else Fraction(25)
    # A few frames in coarse ticks fit many rates: there the customary rate is the better guess.
    first = own + customary if len(times) >= 8 else customary + own
    candidates = [*first, max(mean.limit_denominator(1001), Fraction(1, 1001))]
    for tolerance in (lambda tick: 1.0 + 1e-6, lambda tick: 0.25 / tick):
        for rate in candidates:
            if stray(times, time_base, rate) <= tolerance(float(rate * time_base)):
                return rate, False
    return _nominal_rate(steps, time_base, mean), True


def stray(times: np.ndarray, time_base: Fraction, rate: Fraction) -> float:
    """Ticks between the earliest and the latest frame, each against an even beat of that rate."""
    offset = (times - times[0]) - np.arange(len(times)) * float(1 / (rate * time_base))
    return float(np.ptp(offset))


def _nominal_rate(steps: np.ndarray, time_base: Fraction, mean: Fraction) -> Fraction:
    usual = 1 / (max(1, int(np.median(steps))) * time_base)
    rate = mean if abs(usual / mean - 1) < Fraction(2, 100) else usual  # jitter averages out, gaps do not
    rate = min(rate, Fraction(120))
    near = min([Fraction(max(1, round(rate))), *NTSC_RATES], key=lambda known: abs(known - rate))
    return near if abs(near / rate - 1) < Fraction(1, 200) else rate.limit_denominator(1001)
