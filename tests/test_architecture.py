"""The arrows of the house: ui → bench → talking_face → animate → cache, weights; a fast start."""

import ast
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
ALLOWED = {
    "weights": {"weights"},
    "cache": {"cache"},
    "animate": {"animate", "cache", "weights"},
    "talking_face": {"talking_face", "animate", "cache", "weights"},
    "bench": {"bench", "talking_face", "animate", "cache", "weights"},
    "ui": {"ui", "bench", "talking_face", "animate", "cache", "weights"},
}
HEAVY = {
    "torch",
    "mediapipe",
    "cv2",
    "diffusers",
    "transformers",
    "scipy",
    "numpy",
    "PIL",
    "jax",
    "matplotlib",
}
FILES = [path for package in ALLOWED for path in sorted((ROOT / package).rglob("*.py"))]


def imported_packages(path: Path) -> set[str]:
    """Our own packages that a file imports anywhere, also inside functions and for type checking."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            names.add(node.module.split(".")[0])
        elif isinstance(node, ast.ImportFrom):
            # `from ...x import y` may climb out of the package: resolve it
            parts = path.relative_to(ROOT).parts[: -node.level]
            names.add(parts[0] if parts else (node.module or node.names[0].name).split(".")[0])
    return names & ALLOWED.keys()


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_nothing_lower_imports_anything_higher(path):
    package = path.relative_to(ROOT).parts[0]
    assert imported_packages(path) <= ALLOWED[package]


def test_the_arrow_test_sees_imports(tmp_path, monkeypatch):
    monkeypatch.setattr(sys.modules[__name__], "ROOT", tmp_path)
    folder = tmp_path / "weights" / "deep"
    folder.mkdir(parents=True)
    (folder / "a.py").write_text("def f():\n    import animate.motion\n    from ui import cli\n    from ..b import c\n")
    assert imported_packages(folder / "a.py") == {"animate", "ui", "weights"}


def run_python(code: str) -> tuple[str, float]:
    """Standard output and processor seconds of a fresh interpreter; wall time would count others' work."""
    before = os.times()
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    after = os.times()
    spent = after.children_user + after.children_system - before.children_user - before.children_system
    return done.stdout, spent


@pytest.mark.skipif(not hasattr(os, "fork"), reason="processor time of children is not told here")
@pytest.mark.parametrize(
    "command",
    [["--help"], *([name, "--help"] for name in ("animate", "talk", "dub", "motion", "weights", "train"))],
    ids=" ".join,
)
def test_help_answers_at_once_without_heavy_libraries(command):
    """Measured against what the libraries of the command line alone take on the same machine: 0.08 s of the processor
    where ours take 0.35."""
    code = f"import sys; from ui.cli import main; assert main({command!r}) == 0; print(*sys.modules)"
    runs = [run_python(code) for _ in range(3)]
    loaded = set(runs[0][0].splitlines()[-1].split())
    assert not loaded & HEAVY
    bare = min(run_python("import typer.main, rich.console, rich.table, rich.panel")[1] for _ in range(3))
    assert min(seconds for _, seconds in runs) < 8 * bare


@pytest.mark.parametrize("module", ["animate", "animate.errors", "weights.registry", "ui.options", "ui.report"])
def test_light_modules_import_nothing_heavy(module):
    loaded = set(run_python(f"import sys, {module}; print(*sys.modules)")[0].split())
    assert not loaded & HEAVY


def test_public_names_are_loaded_on_first_use():
    import animate

    assert animate.__all__ == ["Motion", "Portrait", "PortraitAnimator"]
    assert {getattr(animate, name).__name__ for name in animate.__all__} == set(animate.__all__)
    with pytest.raises(AttributeError, match="Motoin"):
        _ = animate.Motoin
