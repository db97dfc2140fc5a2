"""Keeps the start-up chatter of native libraries off the terminal without hiding what matters.

MediaPipe, absl and TensorFlow Lite write to file descriptor 2 directly, below Python's logging. While a graph
starts, that descriptor goes to a file; afterwards every line that is not known chatter is written to the real
stderr.
"""

from __future__ import annotations

import os
import re
import sys
import tempfile
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["quiet_native_log"]

_CHATTER = re.compile(
    rb"^(INFO: |VERBOSE: |I\d{4} |W\d{4} |WARNING: All log messages before absl::InitializeLog)"
    rb"|XNNPACK delegate|inference_feedback_manager|landmark_projection_calculator"
)
_lock = threading.RLock()


@contextmanager
def quiet_native_log() -> Iterator[None]:
    """Hold back what native code writes to stderr inside the block, then replay what is not chatter.

    Python exceptions pass through; the held lines are replayed first. Where stderr has no descriptor, nothing
    happens.
    """
    # Read by glog, absl and TensorFlow Lite when they are loaded; a person's own setting wins.
    os.environ.setdefault("GLOG_minloglevel", "2")
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    with _lock, warnings.catch_warnings(), tempfile.TemporaryFile() as held:
        warnings.filterwarnings("ignore", message=".*GetPrototype", category=UserWarning)
        try:
            sys.stderr.flush()
            saved = os.dup(2)
        except (OSError, AttributeError, ValueError):
            yield
            return
        os.dup2(held.fileno(), 2)
        try:
            yield
        finally:
            os.dup2(saved, 2)
            os.close(saved)
            held.seek(0)
            for line in held:
                if line.strip() and not _CHATTER.search(line):
                    os.write(2, line)
