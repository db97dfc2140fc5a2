"""A suite's inputs as files, for systems that run elsewhere; their outputs come back as ``folder:PATH``."""

from __future__ import annotations

from pathlib import Path

from bench.redetect import Redetector
from bench.runner.case import TRACKS
from bench.runner.inputs import write_inputs
from bench.runner.scene import LeftOut
from bench.runner.stage import Stage
from bench.suites.manifest import Suite
from bench.tables import write_json


def export_inputs(suite: Suite, out: Path) -> dict[str, str]:
    """Write OUT/<case id>/ with portrait.png, driver.mp4 and audio.wav, and OUT/inputs.json that lists them.

    Output frame n of a case is compared with frame n of its driver. Name an output <case id>.mp4.

    Returns:
        Case -> why it is left out, of those that are.
    """
    stage = Stage(suite, Redetector(), out / TRACKS)
    written: dict[str, dict[str, str]] = {}
    left_out: dict[str, str] = {}
    for case in suite.cases:
        # Written as it grows: a folder of inputs is known by its list, also where this process is killed.
        _list(suite, written, left_out, out)
        try:
            values = write_inputs(stage.scene(case), out / case.id)
        except LeftOut as error:
            left_out[case.id] = str(error)
            continue
        own = ("portrait", "driver", "audio")
        written[case.id] = {k: Path(v).relative_to(out).as_posix() if k in own else v for k, v in values.items()}
    _list(suite, written, left_out, out)
    return left_out


def _list(suite: Suite, written: dict, left_out: dict[str, str], out: Path) -> None:
    write_json(out / "inputs.json", {"suite": suite.name, "cases": written, "left_out": left_out})
