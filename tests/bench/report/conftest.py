"""A small run folder as the runner leaves it: real files, made-up figures."""

import json
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

CASES = tuple(f"face{i}--nod" for i in range(8))
METRICS = ("face_l1", "lpips", "frechet_dlib", "mouth_corr", "eye_corr", "identity", "flicker")
FRAMES = 8


def write_case(folder: Path, case: str, values: dict, **facts) -> None:
    """A record; facts replace what a finished case would say."""
    i = CASES.index(case) if case in CASES else 0
    record = {
        "case": case,
        "system": folder.name,
        "status": "ok",
        "error": None,
        "values": dict.fromkeys(METRICS) | values,
        "not_computed": {"lpips": "needs AlexNet: get it", "frechet_dlib": "one number for all clips"},
        "frames": FRAMES,
        "lost": 0,
        "seconds": 0.4,
        "portrait": f"face{i}.png",
        "inputs": f"hash{i}",
        "groups": {"gender": ("female", "male")[i % 2], "style": "human" if i < 6 else "cartoon"},
        "notes": [],
    }
    (folder / "cases").mkdir(parents=True, exist_ok=True)
    (folder / "cases" / f"{case}.json").write_text(json.dumps(record | facts))


def write_run(out: Path, name: str, role: str = "system", **facts) -> Path:
    """A run folder without cases."""
    folder = out / name.replace(":", "-")
    folder.mkdir(parents=True, exist_ok=True)
    run = {
        "schema": 1,
        "suite": {"name": "reenact-cross", "protocol": "reenact-cross", "metrics": METRICS, "cases": CASES},
        "system": name,
        "role": role,
        "versions": {"mien": "0.1.0"},
        "machine": {"cpu": "two cores"},
        "settings": {"data": "/home/someone/data/examples"},
    }
    (folder / "run.json").write_text(json.dumps(run | facts))
    return folder


def write_video(path: Path, colour: int, frames: int = FRAMES) -> None:
    """A square that moves."""
    from animate.media import VideoWriter

    path.parent.mkdir(parents=True, exist_ok=True)
    with VideoWriter(path, Fraction(25), crf=20) as writer:
        for t in range(frames):
            frame = np.full((64, 64, 3), colour, np.uint8)
            frame[20:44, 4 * t : 4 * t + 20] = 255 - colour
            writer.write(frame)


@pytest.fixture(scope="session")
def finished(tmp_path_factory) -> Path:
    """Truth, three baselines, `mien:mini`, and `worse`, which crashes on one case and once shows no face.

    `worse` is worse by 0.01 + 0.001 * case in face_l1; male faces are worse by 0.1 in mouth_corr for `mien:mini`.
    """
    out = tmp_path_factory.mktemp("finished")
    rng = np.random.default_rng(0)
    base = rng.normal(0.05, 0.01, len(CASES))
    systems = {"truth": "truth", "still": "baseline", "warp": "baseline", "copy": "baseline"}
    for k, (name, role) in enumerate((systems | {"mien:mini": "system", "worse": "system"}).items()):
        folder = write_run(out, name, role)
        for i, case in enumerate(CASES):
            values = {
                "face_l1": {"truth": 0.0, "mien:mini": base[i]}.get(name, base[i] + 0.01 + 0.001 * i),
                "mouth_corr": 0.9 - 0.1 * (i % 2) * (name == "mien:mini") - 0.01 * i,
                "eye_corr": None if case == CASES[0] else 0.5,
                "identity": 0.8 - 0.05 * k,
                "flicker": 1.0 + 0.1 * k,
            }
            facts = {"seconds": 0.0 if name == "truth" else 0.1 * 2**k, "lost": int(name == "worse")}
            if name == "worse" and i == 2:
                error = "ValueError: /tmp/somewhere/model/weights.bin <b>is</b> broken"
                facts = {"status": "failed", "error": error, "frames": 0, "seconds": 0}
                values = {}
            if name == "worse" and i == 3:
                values["identity"] = None
            write_case(folder, case, values, **facts)
            features = rng.normal(size=(6, 3)) + (0.0 if name == "truth" else 0.2 * k)
            (folder / "features").mkdir(exist_ok=True)
            same = {"frechet_dlib.output": features, "frechet_dlib.truth": rng.normal(size=(6, 3))}
            np.savez(folder / "features" / f"{case}.npz", **{key: v.astype(np.float32) for key, v in same.items()})
            if i < 3 and not (name == "worse" and i == 2):
                write_video(folder / "videos" / f"{case}.mp4", 40 * k)
    return out
