"""FantasyPortrait's four state dicts and Wan's files become one pipeline folder; every key must fit."""

import json
import shutil

import pytest
import torch
from safetensors.torch import load_file, save_file

from animate.checkpoints import convert_checkpoint, find_pipeline
from animate.errors import WeightsError
from animate.expression_checkpoints import COPIED, PARTS, TOKEN_NETWORKS
from animate.expression_loading import load_expression_pipeline, read_empty_prompt
from weights.wan_keys import IN_BLOCK, WHOLE

torch.set_num_threads(1)


@pytest.fixture(autouse=True)
def own_places(tmp_path, monkeypatch):
    """No weights of this machine have a part in a test."""
    monkeypatch.setenv("MIEN_WEIGHTS", str(tmp_path / "store"))
    monkeypatch.setenv("HOME", str(tmp_path / "home"))


def published_key(key):
    """The inverse of `weights.wan_keys.diffusers_key`."""
    begin, names = "", WHOLE
    if key.startswith("blocks."):
        _, number, key = key.split(".", 2)
        begin, names = f"blocks.{number}.", IN_BLOCK
    inverse = {ours: theirs for theirs, ours in names.items()}
    if key in inverse:
        return begin + inverse[key]
    stem, _, last = key.rpartition(".")
    return f"{begin}{inverse[stem]}.{last}"


def parts_of(pipeline):
    """The checkpoint's four state dicts."""
    adapter = {
        published_key(key): value for key, value in pipeline.transformer.state_dict().items() if "_expression" in key
    }
    return {part: getattr(pipeline.tokens, part).state_dict() for part in TOKEN_NETWORKS} | {"ip_adapter": adapter}


@pytest.fixture
def published(tmp_path, tiny_expression, tiny_expression_folder):
    """A folder with FantasyPortrait's checkpoint, and Wan's beside it in diffusers' format, in two files."""
    folder = tmp_path / "published"
    wan = folder / "Wan2.1-I2V-14B-720P-Diffusers"
    (wan / "transformer").mkdir(parents=True)
    torch.save(parts_of(tiny_expression), folder / "fantasyportrait_model.ckpt")
    state = {key: value for key, value in tiny_expression.transformer.state_dict().items() if "_expression" not in key}
    keys = list(state)
    for number, some in enumerate((keys[:20], keys[20:]), 1):
        name = f"diffusion_pytorch_model-{number:05}-of-00002.safetensors"
        save_file({key: state[key].contiguous() for key in some}, wan / "transformer" / name, {"format": "pt"})
    config = {key: value for key, value in tiny_expression.transformer.config.items() if key != "expression_dim"}
    config = {key: value for key, value in config.items() if not key.startswith("_")}
    (wan / "transformer" / "config.json").write_text(json.dumps({"_class_name": "WanTransformer3DModel"} | config))
    for part in ("vae", "image_encoder", "image_processor"):
        shutil.copytree(tiny_expression_folder / part, wan / part)
    shutil.copy(tiny_expression_folder / "empty_prompt.safetensors", wan)
    return folder


def by_authors_names(published, tiny_expression):
    """Wan's transformer as its authors publish it: in the folder itself, under their names."""
    wan = published / "Wan2.1-I2V-14B-720P-Diffusers"
    for path in (wan / "transformer").glob("*.safetensors"):
        state = {published_key(key): value for key, value in load_file(path).items()}
        save_file(state, wan / path.name)
    shutil.rmtree(wan / "transformer")
    config = {"model_type": "i2v", "dim": 24, "num_heads": 2, "num_layers": 2, "eps": 1e-6, "text_len": 512}
    (wan / "config.json").write_text(json.dumps(config))


@pytest.fixture
def convert(published, tmp_path, tiny_expression):
    def run(out="model", **arguments):
        # heads are of 64 channels in what is published, which nothing in a file tells
        configs = {"tokens": {"heads": 2, "head_dim": 8}, "transformer": {"rope_max_seq_len": 64}}
        return convert_checkpoint(published, tmp_path / out, "fantasy-portrait", configs=configs, **arguments)

    return run


def assert_same_state(own, other):
    own, other = own.state_dict(), other.state_dict()
    assert own.keys() == other.keys()
    assert all(torch.equal(own[key], other[key]) for key in own)


class TestConversion:
    @pytest.mark.parametrize("names", ["diffusers", "authors"])
    def test_every_network_comes_out_as_it_went_in(self, convert, published, tiny_expression, names):
        if names == "authors":
            by_authors_names(published, tiny_expression)
        pipeline = load_expression_pipeline(convert())
        for part in ("transformer", "tokens", "vae", "image_encoder"):
            assert_same_state(getattr(pipeline, part), getattr(tiny_expression, part))
        ours, theirs = (
            {key: value for key, value in each.transformer.config.items() if not key.startswith("_")}
            for each in (pipeline, tiny_expression)
        )
        assert json.dumps(ours, sort_keys=True) == json.dumps(theirs, sort_keys=True)

    def test_the_scheduler_is_the_published_one(self, convert):
        scheduler = load_expression_pipeline(convert()).scheduler
        assert type(scheduler).__name__ == "FlowMatchEulerDiscreteScheduler" and scheduler.config.shift == 5

    def test_the_empty_text_comes_along(self, convert):
        folder = convert()
        assert read_empty_prompt(folder).shape == (1, 4, 16)
        assert load_expression_pipeline(folder).text_encoder is None

    def test_files_in_which_nothing_changes_take_no_room(self, convert, published):
        folder = convert()
        source = next((published / "Wan2.1-I2V-14B-720P-Diffusers" / "transformer").glob("*00001*"))
        assert (folder / "transformer" / "diffusion_pytorch_model-00001-of-00003.safetensors").samefile(source)

    def test_a_dtype_is_given_to_transformer_and_tokens(self, convert):
        folder = convert(dtype=torch.bfloat16)
        for part in ("transformer", "tokens"):
            for path in (folder / part).glob("*.safetensors"):
                assert {value.dtype for value in load_file(path).values()} == {torch.bfloat16}, path

    def test_the_folder_holds_safetensors_and_json_alone(self, convert):
        folder = convert()
        assert {path.suffix for path in folder.rglob("*") if path.is_file()} == {".safetensors", ".json"}
        index = json.loads((folder / "transformer" / "diffusion_pytorch_model.safetensors.index.json").read_text())
        for key, file in index["weight_map"].items():
            assert key in load_file(folder / "transformer" / file)

    def test_wan_elsewhere(self, convert, published, tmp_path):
        (published / "Wan2.1-I2V-14B-720P-Diffusers").rename(tmp_path / "elsewhere")
        assert load_expression_pipeline(convert(base=tmp_path / "elsewhere"))

    def test_every_copied_part_has_a_class(self):
        import diffusers
        import transformers

        libraries = {"diffusers": diffusers, "transformers": transformers}
        assert all(hasattr(libraries[library], name) for library, name in COPIED.values())


class TestRefusals:
    def change(self, published, **changes):
        path = published / "fantasyportrait_model.ckpt"
        parts = torch.load(path, weights_only=True)
        for part, change in changes.items():
            change(parts[part]) if callable(change) else parts.pop(part)
        torch.save(parts, path)

    def check(self, convert, tmp_path, *words, **arguments):
        with pytest.raises(WeightsError) as error:
            convert(**arguments)
        sentence = str(error.value)
        assert sentence.endswith(".") and all(word in sentence for word in words), sentence
        assert not [path for path in tmp_path.iterdir() if "model" in path.name], "nothing is written"

    def test_a_missing_part(self, convert, published, tmp_path):
        self.change(published, emo_proj_model=None)
        self.check(convert, tmp_path, "fantasyportrait_model.ckpt must hold", *PARTS)

    @pytest.mark.parametrize(
        ("change", "words"),
        [
            (
                lambda state: state.pop("blocks.1.cross_attn.processor.ip_adapter_single_stream_k_proj.weight"),
                "1 missing",
            ),
            (lambda state: state.update({"blocks.7.odd": torch.zeros(1)}), "1 unexpected: blocks.7.odd"),
            (
                lambda state: state.update(
                    {"blocks.1.cross_attn.processor.ip_adapter_single_stream_k_proj.weight": torch.zeros(3, 3)}
                ),
                "1 of another shape",
            ),
        ],
        ids=["missing", "unexpected", "misshaped"],
    )
    def test_an_adapter_that_does_not_fit(self, convert, published, tmp_path, change, words):
        self.change(published, ip_adapter=change)
        self.check(convert, tmp_path, "ip_adapter", words)

    def test_token_networks_that_do_not_fit(self, convert, published, tmp_path):
        self.change(published, mouth_proj_model=lambda state: state.pop("norm_out.bias"))
        self.check(convert, tmp_path, "1 missing: mouth_proj_model.norm_out.bias")

    def test_another_transformer(self, convert, published, tmp_path):
        path = next((published / "Wan2.1-I2V-14B-720P-Diffusers" / "transformer").glob("*00002*"))
        state = load_file(path)
        save_file(dict(list(state.items())[1:]), path)
        self.check(convert, tmp_path, "Wan2.1-I2V-14B-720P-Diffusers does not fit", "1 missing")

    @pytest.mark.parametrize("part", ["transformer", "image_encoder", "empty_prompt.safetensors"])
    def test_a_missing_part_of_wan(self, convert, published, tmp_path, part):
        path = published / "Wan2.1-I2V-14B-720P-Diffusers" / part
        path.unlink() if path.is_file() else shutil.rmtree(path)
        words = "text_encoder, tokenizer" if part.startswith("empty") else part
        self.check(convert, tmp_path, "lacks", words, "mien weights pull wan-i2v-720p")

    def test_no_wan_at_all(self, convert, published, tmp_path):
        shutil.rmtree(published / "Wan2.1-I2V-14B-720P-Diffusers")
        self.check(convert, tmp_path, "it is not on this machine", "mien weights pull wan-i2v-720p")
        self.check(convert, tmp_path, "holds none of it", base=tmp_path / "nowhere")

    def test_no_checkpoint(self, convert, published, tmp_path):
        (published / "fantasyportrait_model.ckpt").unlink()
        self.check(convert, tmp_path, "lacks files of fantasy-portrait", "mien weights pull fantasy-portrait")

    def test_code_in_the_checkpoint_is_not_run(self, convert, published, tmp_path):
        class Trap:
            def __reduce__(self):
                return (open, (str(tmp_path / "sprung"), "w"))

        torch.save({part: {"a": Trap()} for part in PARTS}, published / "fantasyportrait_model.ckpt")
        self.check(convert, tmp_path, "can run code")
        assert not (tmp_path / "sprung").exists()


def test_a_model_that_is_not_here_says_all_that_it_needs():
    with pytest.raises(WeightsError) as error:
        find_pipeline("fantasy-portrait")
    assert all(
        f"mien weights pull {name}" in str(error.value) for name in ("fantasy-portrait", "wan-i2v-720p", "pd-fgc")
    )
    assert "mien weights convert fantasy-portrait" in str(error.value)
