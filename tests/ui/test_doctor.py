"""`mien doctor`: what it finds on this machine, and that it notices what is broken."""

import json
import shutil

import pytest

from ui import doctor
from weights import registry


@pytest.fixture(scope="module")
def checks():
    return list(doctor.examine())


def of(checks, group):
    return {check.name: check for check in checks if check.group == group}


def test_this_machine_is_healthy_and_draws(checks):
    assert [check for check in checks if check.state == "wrong"] == []
    assert of(checks, "self-test").keys() == {"faces", "frame", "video"}


def test_versions_weights_and_device_are_told(checks):
    import torch

    assert of(checks, "packages")["torch"].detail == torch.__version__
    assert of(checks, "weights")["mini"].state == "ok"
    assert "cores" in of(checks, "machine")["cpu"].detail
    assert of(checks, "program")["ffmpeg"].state == "ok"


def test_a_broken_weight_is_wrong_and_the_exit_code_says_so(mien, tmp_path, monkeypatch):
    from dataclasses import replace

    folder = tmp_path / "embedded"
    shutil.copytree(registry.EMBEDDED, folder)
    records = tuple(replace(record, folder=folder) if record.name == "prior" else record for record in registry.RECORDS)
    monkeypatch.setattr(registry, "RECORDS", records)
    record = next(record for record in records if record.name == "prior")
    file = record.find(record.files[0])
    assert str(file).startswith(str(folder))
    file.write_bytes(file.read_bytes()[:40])
    code, out, _ = mien("doctor", "--no-selftest")
    assert code == 1 and "install Mien again" in out and "1 thing does not work that should." in out


def test_json_has_every_check(mien):
    code, out, _ = mien("doctor", "--no-selftest", "--json")
    found = json.loads(out)
    assert code == 0 and found["healthy"]
    assert {"program", "packages", "weights", "machine", "folders"} == {check["group"] for check in found["checks"]}


def test_a_wrong_place_for_weights_is_told(mien, monkeypatch, tmp_path):
    monkeypatch.setenv("MIEN_WEIGHTS", str(tmp_path / "nowhere"))
    code, out, _ = mien("doctor", "--no-selftest")
    assert code == 1 and "MIEN_WEIGHTS names" in out


def test_what_breaks_in_an_unforeseen_way_is_one_line(monkeypatch):
    def broken():
        raise RuntimeError("libsomething.so.1:\n cannot open")
        yield

    monkeypatch.setitem(doctor.PARTS, "machine", broken)
    found = [check for check in doctor.examine(selftest=False) if check.group == "machine"]
    assert [check.state for check in found] == ["wrong"] and "\n" not in found[0].detail
    assert any(check.group == "folders" for check in doctor.examine(selftest=False))


def test_a_package_out_of_bounds_is_wrong(monkeypatch):
    from packaging.requirements import Requirement

    assert doctor._fault(Requirement("numpy>=1.0"))[1] == ""
    assert "does not fit" in doctor._fault(Requirement("numpy>=999"))[1]
    assert "not installed" in doctor._fault(Requirement("there-is-no-such-package"))[1]
