"""Files are looked for in the given folder, MIEN_WEIGHTS, ~/.cache/mien, Hugging Face's cache, in this order."""

import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from huggingface_hub import constants

from weights import places, store
from weights.errors import WeightsError
from weights.registry import RECORDS, FileFacts, WeightRecord, get

ROOT = Path(__file__).resolve().parents[2]
CONTENT = b'{"a": 1}'
RECORD = WeightRecord(
    name="some",
    purpose="a test",
    files=("sub/config.json",),
    licence="CC0-1.0",
    source="nobody",
    origin="download",
    repository="nobody/some",
    revision="0" * 40,
    facts={"sub/config.json": FileFacts(len(CONTENT), hashlib.sha256(CONTENT).hexdigest())},
)


@pytest.fixture(autouse=True)
def machine(tmp_path, monkeypatch):
    """An empty machine: home, environment and Hugging Face's cache."""
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.delenv("MIEN_WEIGHTS", raising=False)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    return tmp_path


def put(path: Path, content: bytes = CONTENT) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


def put_in_hub(machine: Path) -> Path:
    """As huggingface_hub keeps a file of this revision."""
    return put(machine / "hub" / "models--nobody--some" / "snapshots" / ("0" * 40) / "sub" / "config.json")


class TestOrder:
    def test_nothing_is_found_on_an_empty_machine(self, machine):
        assert RECORD.find("sub/config.json") is None
        assert RECORD.missing == RECORD.files and not RECORD.available
        assert RECORD.path == machine / "home" / ".cache" / "mien" / "some"

    def test_each_place_goes_before_the_next(self, machine, monkeypatch):
        found = [put_in_hub(machine)]
        assert RECORD.find("sub/config.json") == found[-1]
        found.append(put(machine / "home" / ".cache" / "mien" / "some" / "config.json"))
        assert RECORD.find("sub/config.json") == found[-1]
        monkeypatch.setenv("MIEN_WEIGHTS", str(machine / "store"))
        assert RECORD.find("sub/config.json") == found[-1]
        found.append(put(machine / "store" / "some" / "sub" / "config.json"))
        assert RECORD.find("sub/config.json") == found[-1]
        given = put(machine / "given" / "config.json")
        assert RECORD.find("sub/config.json", machine / "given") == given
        assert RECORD.find("sub/config.json") == found[-1]

    def test_the_folder_is_the_one_that_the_paths_begin_in(self, machine):
        assert RECORD.path == machine / "home" / ".cache" / "mien" / "some"
        put_in_hub(machine)
        assert RECORD.path == machine / "hub" / "models--nobody--some" / "snapshots" / ("0" * 40)
        put(machine / "home" / ".cache" / "mien" / "some" / "config.json")
        assert RECORD.path == machine / "home" / ".cache" / "mien" / "some"

    def test_another_revision_in_the_cache_is_not_taken(self, machine):
        put(machine / "hub" / "models--nobody--some" / "snapshots" / ("1" * 40) / "sub" / "config.json")
        assert RECORD.find("sub/config.json") is None

    def test_written_where_the_variable_says(self, machine, monkeypatch):
        monkeypatch.setenv("MIEN_WEIGHTS", str(machine / "store"))
        assert places.own_root() == machine / "store"
        assert store.pipeline_folder("x") == machine / "store" / "pipelines" / "x"


class TestPull:
    def test_without_network_one_sentence_says_what_and_where(self, machine):
        with pytest.raises(WeightsError) as error:
            store.pull(RECORD)
        sentence = str(error.value)
        assert "HF_HUB_OFFLINE" in sentence and "sub/config.json" in sentence and "nobody/some" in sentence
        assert str(machine / "home" / ".cache" / "mien" / "some") in sentence

    def test_a_host_that_does_not_answer_is_the_same_sentence(self):
        # a process of its own: the library reads its settings when it is imported
        code = "from weights import store, registry; store.pull(registry.get('taesd'))"
        settings = {"HF_HUB_OFFLINE": "0", "HF_ENDPOINT": "http://127.0.0.1:9"}
        done = subprocess.run(
            [sys.executable, "-c", code], cwd=ROOT, env={**os.environ, **settings}, capture_output=True, text=True
        )
        assert "WeightsError: There is no network" in done.stderr and "madebyollin/taesd" in done.stderr

    def test_what_is_here_is_not_fetched_again(self, machine):
        path = put_in_hub(machine)
        fetched = []
        assert store.pull(RECORD, report=fetched.append) == [path] and not fetched

    def test_a_damaged_file_is_not_handed_out(self, machine):
        put(machine / "home" / ".cache" / "mien" / "some" / "config.json", b'{"a": 2}')
        with pytest.raises(WeightsError, match=r"SHA-256.*remove it.*pull --overwrite some"):
            store.pull(RECORD)

    @pytest.mark.parametrize("name", ["mini", "mediapipe", "insightface-buffalo_l", "dlib-recognition"])
    def test_what_lies_in_no_repository_says_how_it_comes(self, name):
        with pytest.raises(WeightsError, match=f"{name} cannot be pulled: (it comes with|run pip|get )"):
            store.pull(get(name))


class TestVerify:
    def states(self) -> list[str]:
        return [file.state for file in store.verify(RECORD)]

    def test_missing(self):
        assert self.states() == ["missing"]

    def test_whole(self, machine):
        put_in_hub(machine)
        assert self.states() == ["whole"]

    @pytest.mark.parametrize(("content", "detail"), [(b"{}", "2 bytes instead of 8"), (b'{"a": 2}', "SHA-256")])
    def test_damaged(self, machine, content, detail):
        put(machine / "home" / ".cache" / "mien" / "some" / "config.json", content)
        (file,) = store.verify(RECORD)
        assert file.state == "damaged" and detail in file.detail

    @pytest.mark.parametrize(
        ("name", "content"),
        [
            ("a.json", b"{"),
            ("a.safetensors", (1000).to_bytes(8, "little") + b"{}"),
            ("a.pth", b"PK\x03\x04 and then nothing"),
            ("a.ckpt", b"<html>not found</html>"),
            ("a.onnx", b""),
        ],
    )
    def test_structure_of_formats(self, machine, name, content):
        assert store.structure_fault(put(machine / name, content))

    def test_sound_files_pass(self, machine):
        import torch
        from safetensors.torch import save_file

        torch.save({"a": torch.zeros(1)}, machine / "new.pth")
        torch.save({"a": torch.zeros(1)}, machine / "old.pth", _use_new_zipfile_serialization=False)
        save_file({"a": torch.zeros(1)}, machine / "a.safetensors")
        assert not [n for n in ("new.pth", "old.pth", "a.safetensors") if store.structure_fault(machine / n)]


class TestRecords:
    def test_names_are_unique(self):
        assert len({record.name for record in RECORDS}) == len(RECORDS)

    @pytest.mark.parametrize("record", RECORDS, ids=lambda record: record.name)
    def test_facts_belong_to_files(self, record):
        assert set(record.facts) <= set(record.files)
        for facts in record.facts.values():
            assert facts.sha256 is None or (len(facts.sha256) == 64 and int(facts.sha256, 16))

    @pytest.mark.parametrize("name", ["follow-your-emoji", "follow-your-emoji-fp16", "insightface-buffalo_l"])
    def test_what_must_not_earn_money_is_marked(self, name):
        assert not get(name).commercial_use

    def test_the_published_sizes_are_those_of_our_networks(self, shared):
        shapes = json.loads((shared / "golden" / "fye_state_dict_shapes.json").read_text())
        sizes = {part: sum(_product(shape) for shape in keys.values()) for part, keys in shapes.items()}
        for part, count in sizes.items():
            original = get("follow-your-emoji").facts[f"ckpts/{part}.pth"].size
            assert 4 * count < original < 4 * count + 1_000_000
        mirror = get("follow-your-emoji-fp16").facts
        for file, size in (("FYE_unet-fp16", 2), ("FYE_referencenet-fp16", 2), ("FYE_lmk_guider", 4)):
            part = {"FYE_unet-fp16": "unet", "FYE_referencenet-fp16": "referencenet"}.get(file, "lmk_guider")
            assert size * sizes[part] < mirror[f"{file}.safetensors"].size < size * sizes[part] + 1_000_000


def _product(shape: list[int]) -> int:
    product = 1
    for length in shape:
        product *= length
    return product
