"""What `pip install mien` brings: every package, the weights, the motions, the command."""

import os
import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = ("animate", "bench", "cache", "talking_face", "ui", "weights")


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> zipfile.ZipFile:
    """The wheel, built by setuptools itself from a copy of the tree: nothing is left in the checkout."""
    pytest.importorskip("setuptools", minversion="77")
    folder = tmp_path_factory.mktemp("build")
    for name in (*PACKAGES, "pyproject.toml", "README.md", "LICENSE"):
        source = ROOT / name
        if source.is_dir():
            shutil.copytree(source, folder / name, ignore=shutil.ignore_patterns("__pycache__", "checkpoint*.pt"))
        else:
            shutil.copy(source, folder / name)
    code = "import setuptools.build_meta as b; print(b.build_wheel('out'))"
    (folder / "out").mkdir()
    done = subprocess.run([sys.executable, "-c", code], cwd=folder, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    return zipfile.ZipFile(folder / "out" / done.stdout.split()[-1])


def test_wheel_holds_every_module_and_no_test(wheel):
    inside = set(wheel.namelist())
    wanted = {str(path.relative_to(ROOT)) for name in PACKAGES for path in (ROOT / name).rglob("*.py")}
    assert wanted <= inside
    assert not [name for name in inside if name.startswith("tests")]


def test_wheel_holds_weights_and_motions(wheel):
    inside = set(wheel.namelist())
    files = [path for path in (ROOT / "weights/embedded").rglob("*") if path.is_file()]
    files += [*(ROOT / "animate/motions").glob("*.safetensors"), *(ROOT / "animate/configs").glob("*.yaml")]
    files += [ROOT / "talking_face/speech/hello.flac"]
    assert {str(path.relative_to(ROOT)) for path in files} <= inside
    assert any(name.startswith("weights/embedded/") and name.endswith(".safetensors") for name in inside)


def test_wheel_is_small_enough_to_ship(wheel):
    assert sum(item.file_size for item in wheel.infolist()) < 60 * 2**20


def test_wheel_brings_the_command_and_the_licence(wheel):
    names = wheel.namelist()
    entry = next(name for name in names if name.endswith("entry_points.txt"))
    assert "mien = ui.cli:run" in wheel.read(entry).decode()
    licence = next(name for name in names if name.endswith("licenses/LICENSE"))
    text = wheel.read(licence).decode()
    assert "Apache License" in text and "The Mien authors" in text


def test_core_dependencies_are_all_imported_somewhere():
    """A lean core: what is installed is used, and what the core imports at top level is installed."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    modules = {"pillow": "PIL", "imageio-ffmpeg": "imageio_ffmpeg", "opencv-contrib-python": "cv2"}
    modules |= {"huggingface-hub": "huggingface_hub", "pyyaml": "yaml"}
    sources = "\n".join(path.read_text() for name in PACKAGES for path in (ROOT / name).rglob("*.py"))
    for requirement in project["dependencies"]:
        name = re.match(r"[\w-]+", requirement).group()
        assert re.search(rf"^\s*(import|from) {modules.get(name, name)}\b", sources, re.MULTILINE), name


def test_bounds_and_pins_carry_their_reason():
    lines = (ROOT / "pyproject.toml").read_text().splitlines()
    start, end = lines.index("dependencies = ["), lines.index("[project.optional-dependencies]")
    for number in range(start + 1, end):
        if lines[number].strip().startswith('"'):
            above = lines[number - 1].strip()
            assert "#" in lines[number] or above.startswith(("#", '"')), lines[number]
    blocks = (ROOT / "constraints.txt").read_text().strip().split("\n\n")
    assert all(block.startswith("#") for block in blocks)


def test_ci_script_is_executable_and_calls_make_test():
    script = ROOT / ".ci/run"
    assert os.access(script, os.X_OK) and "make test" in script.read_text()
