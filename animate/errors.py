"""Errors of the animation layer. Each message is one sentence: what is wrong with which file, and what to do."""

from weights.errors import MienError, WeightsError

__all__ = ["FaceError", "MediaError", "MienError", "MotionError", "OptionError", "WeightsError"]


class MediaError(MienError):
    """An image, video or sound file cannot be read or written."""


class FaceError(MienError):
    """A face that the job needs is not there."""


class MotionError(MienError):
    """A motion file or motion array is not usable."""


class OptionError(MienError, ValueError):
    """An option has a value that Mien does not know."""
