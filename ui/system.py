"""Tells in one sentence which system library a bare machine lacks; the set-up runs it after installing."""

from __future__ import annotations

import importlib
import sys

# What OpenCV's and MediaPipe's wheels load from the system, as Debian and Ubuntu package them.
SYSTEM_PACKAGES = "libgl1 libglib2.0-0"


def missing_library(modules: tuple[str, ...] = ("cv2", "mediapipe")) -> str | None:
    """A sentence that names what is missing and how to install it; None when every module loads."""
    for name in modules:
        try:
            importlib.import_module(name)
        except ImportError as error:
            if ".so" not in str(error):
                return f"{name} cannot be imported ({error}): install Mien again with make, or pip install mien."
            library = next(word for word in str(error).split() if ".so" in word).rstrip(":")
            return (
                f"{name} needs the system library {library}: on Debian or Ubuntu run "
                f"'apt-get install {SYSTEM_PACKAGES}' and try again."
            )
    return None


if __name__ == "__main__":
    problem = missing_library()
    if problem is not None:
        sys.exit(f"mien: {problem}")
