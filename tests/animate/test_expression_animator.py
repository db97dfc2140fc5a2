"""The expression-driven animator with a tiny pipeline of random weights: frames, groups, windows, resuming, options."""

import json
import shutil
import tracemalloc
from itertools import islice

import numpy as np
import pytest
import torch

from animate.animator import PortraitAnimator
from animate.errors import OptionError, WeightsError
from animate.expression_animator import ExpressionAnimator, face_boxes
from animate.expression_loading import load_expression_pipeline, write_empty_prompt
from animate.expression_options import ExpressionOptions
from animate.full_size_options import FullSizeOptions
from animate.group import ExpressionPart, Part
from animate.pipelines.expression import ExpressionPipeline
from animate.pipelines.latent_film import LatentItems, StreamingDecoder, latent_windows, window_frames
from animate.portrait import Portrait
from animate.work_folder import WorkFolder
from weights import places

torch.set_num_threads(1)

SMALL = {"size": 64, "window": 17, "overlap": 8}  # windows of 5 latent frames that share 2


@pytest.fixture(scope="module")
def portrait(astronaut):
    return Portrait.from_image(np.ascontiguousarray(astronaut[:256, 96:352]))


@pytest.fixture(scope="module")
def group(portrait):
    """The same woman twice, side by side."""
    face, width = portrait.faces[0], portrait.image.shape[1]
    from dataclasses import replace

    moved = replace(face, landmarks=face.landmarks + (width, 0, 0), box=face.box + (width, 0, width, 0))
    return Portrait(np.concatenate([portrait.image] * 2, axis=1), [face, moved])


@pytest.fixture(scope="module")
def load(tiny_expression_folder):
    """A maker of animators of the tiny pipeline."""

    def make(steps=None, seed=0, cache="off", **options) -> ExpressionAnimator:
        chosen = FullSizeOptions(**{**SMALL, **options})
        return PortraitAnimator.from_pretrained(
            tiny_expression_folder, steps=steps, seed=seed, full_size=chosen, cache=cache
        )

    return make


def film(animator, portrait, motion, count, work=None):
    return list(animator.animate(portrait, motion.take(slice(0, count)), work=work))


def same(one, other) -> bool:
    return len(one) == len(other) and all(np.array_equal(a, b) for a, b in zip(one, other, strict=True))


class TestWindows:
    def test_frames_become_latent_frames_that_look_one_frame_back(self):
        items = LatentItems(np.array([n]) for n in range(7))
        made = [item.ravel().tolist() for item in items]
        assert made == [[0, 0, 0, 0, 0], [0, 1, 2, 3, 4], [4, 5, 6, 6, 6]] and items.frames == 7

    @pytest.mark.parametrize("frames", [1, 2, 5, 17, 18, 21, 60, 81])
    def test_every_latent_frame_is_drawn_once_or_blended(self, frames):
        items = LatentItems(np.array([float(n)]) for n in range(frames))
        count = (frames + 2) // 4 + 1
        shares = np.zeros(count)
        for window, some in latent_windows(items, 5, 2):
            assert len(some) == len(window.frames) <= (5 if window.index == 0 else 4)
            new = [share for share in window.weights if share > 0]
            for frame, share in zip(window.drawn, new, strict=True):
                shares[frame] = share + (1 - share) * shares[frame]
            # the network sees the window's own frames, and before them the one that its second latent frame needs
            seen = window_frames(window, some).ravel()
            begin = 0 if window.index == 0 else 4 * window.frames[0] - 4
            own = np.minimum(np.arange(begin, 4 * window.frames[-1] + 1), frames - 1)
            if window.index:
                assert seen[:2].tolist() == [begin, begin + 1]
            assert np.array_equal(seen, own)
        assert np.array_equal(shares, np.ones(count))

    def test_a_clip_that_fits_is_one_window(self):
        assert len(list(latent_windows(LatentItems(np.zeros((81, 1)))))) == 1
        assert len(list(latent_windows(LatentItems(np.zeros((82, 1)))))) == 2

    def test_latents_decode_one_by_one_to_the_same_video(self, tiny_expression):
        latents = torch.randn(1, 16, 4, 6, 8, generator=torch.Generator().manual_seed(0))
        wanted = (tiny_expression.decode(latents)[0].clamp(-1, 1) / 2 + 0.5) * 255
        decode = StreamingDecoder(tiny_expression)
        made = np.concatenate([decode(latents[0, :, n].numpy()) for n in range(4)])
        assert made.shape == (13, 48, 64, 3)
        assert np.array_equal(made, wanted.round().to(torch.uint8).permute(1, 2, 3, 0).numpy())

    @pytest.mark.parametrize("sizes", [(2, 0), (9, 5), (9, -1)])
    def test_windows_that_do_not_work_are_refused(self, sizes):
        with pytest.raises(OptionError):
            next(latent_windows([], *sizes))


class TestFilm:
    @pytest.mark.parametrize("count", [1, 5, 6, 17, 30])
    def test_every_frame_of_the_motion_is_drawn_at_the_portraits_size(self, load, portrait, talk, count):
        made = film(load(), portrait, talk, count)
        assert len(made) == count
        assert all(frame.shape == portrait.image.shape and frame.dtype == np.uint8 for frame in made)

    def test_one_window_is_the_pipelines_own_clip(self, load, portrait, talk):
        animator = load()
        made = film(animator, portrait, talk, 9)
        rows = animator._frames(
            np.stack(list(islice(_targets(portrait, talk), 9)))[:, None], portrait.faces[0].landmarks[None]
        )
        from animate.pipelines.noise import FrameNoise

        wanted = animator.pipeline(
            portrait.image,
            rows[:, 0, :-4],
            prompt_embeds=animator.prompt,
            width=64,
            height=64,
            noise=FrameNoise(0, range(3)),
            output_type="np",
        ).frames[0]
        small = [frame[1::4, 1::4].astype(float) for frame in made]
        assert np.corrcoef(np.ravel(small), np.ravel(wanted[:, :, :] * 255))[0, 1] > 0.8

    def test_the_motion_and_the_seed_decide_what_is_drawn(self, load, portrait, talk):
        one, two = (film(load(seed=1), portrait, talk, 6) for _ in range(2))
        assert same(one, two)
        assert not same(one, film(load(seed=2), portrait, talk, 6))
        still = talk.take(np.zeros(6, int))
        assert not same(one, film(load(seed=1), portrait, still, 6))

    def test_frames_do_not_depend_on_what_comes_long_after(self, load, portrait, talk):
        short, long = (film(load(), portrait, talk, count) for count in (40, 60))
        assert same(short[:33], long[:33])

    def test_landmarks_alone_drive_it_too(self, load, portrait, talk):
        targets = list(islice(_targets(portrait, talk), 6))
        made = list(load().render(portrait, iter(targets), portrait.faces[0].landmarks))
        assert same(made, film(load(), portrait, talk, 6))

    def test_features_of_an_encoder_drive_it_without_a_projection(self, load, portrait):
        animator = load()
        animator.pipeline.register_modules(motion_projection=None)
        features = np.random.default_rng(0).normal(size=(2, 22, 554)).astype(np.float32)
        one, other = (list(animator.animate_features(portrait, [each])) for each in features)
        assert len(one) == 22 and not same(one, other)
        with pytest.raises(OptionError, match="one length"):
            animator.animate_features(portrait, features, faces=(0,))

    def test_a_transparent_portrait_keeps_its_transparency(self, load, portrait, talk):
        image = np.dstack([portrait.image, np.full(portrait.image.shape[:2], 255, np.uint8)])
        image[:40, :, 3] = 0
        assert np.array_equal(film(load(), Portrait(image, portrait.faces), talk, 1)[0][..., 3], image[..., 3])

    def test_memory_does_not_grow_with_the_length(self, load, portrait, talk):
        def peak(frames: int) -> int:
            motion = talk.take(np.arange(frames) % len(talk))
            films = load(steps=1, guidance=1.0).animate(portrait, motion)
            next(films)
            tracemalloc.start()
            for _ in films:
                pass
            most = tracemalloc.get_traced_memory()[1]
            tracemalloc.stop()
            return most

        assert peak(150) < peak(60) + 4 * portrait.image.nbytes

    def test_the_cache_is_used_and_counted(self, load, portrait, talk):
        animator = load(steps=20, cache="fast")
        film(animator, portrait, talk, 5)
        assert animator.cached.clips == 1 and animator.cached.computed.total() == 20, "each step once, not once a half"


class TestGroup:
    def test_each_face_has_its_own_driver(self, load, group, talk):
        one, other = talk.take(slice(0, 6)), talk.take(slice(30, 36))
        made = list(load().animate_group(group, [Part(0, one), Part(1, other)]))
        swapped = list(load().animate_group(group, [Part(0, other), Part(1, one)]))
        assert len(made) == 6 and made[0].shape == group.image.shape
        assert not same(made, swapped)

    def test_clips_and_motions_drive_side_by_side(self, load, group, talk):
        features = np.random.default_rng(0).normal(size=(6, 554)).astype(np.float32)
        both = [ExpressionPart(1, features), Part(0, talk.take(slice(0, 6)))]
        made = list(load().animate_group(group, both))
        assert len(made) == 6
        assert not same(made, list(load().animate_group(group, [both[0], Part(0, talk.take(slice(30, 36)))])))
        assert not same(made, list(load().animate_group(group, [ExpressionPart(1, features[::-1]), both[1]])))

    def test_features_alone_are_the_encoders_own(self, load, group):
        features = np.random.default_rng(0).normal(size=(6, 554)).astype(np.float32)
        made = list(load().animate_group(group, [ExpressionPart(1, features)]))
        assert same(made, list(load().animate_features(group, [features], (1,))))

    @pytest.mark.parametrize("parts", [[], [2], [0, 0]])
    def test_parts_that_cannot_be_drawn_are_refused(self, load, group, parts):
        with pytest.raises(OptionError):
            load().animate_group(group, [ExpressionPart(face, np.zeros((2, 554), np.float32)) for face in parts])

    def test_the_order_of_the_parts_does_not_matter(self, load, group, talk):
        one, other = talk.take(slice(0, 6)), talk.take(slice(30, 36))
        made = list(load().animate_group(group, [Part(0, one), Part(1, other)]))
        turned = list(load().animate_group(group, [Part(1, other), Part(0, one)]))
        assert all(np.abs(a.astype(int) - b).max() <= 1 for a, b in zip(made, turned, strict=True))

    def test_a_face_without_a_part_sees_no_driver(self, load, group, talk):
        """In the network, whose attention is masked: everything else of a video model may change any pixel."""
        animator, masks = load(), []
        animator.pipeline.transformer.register_forward_pre_hook(
            lambda _, given, kwargs: masks.append(kwargs["expression_mask"]), with_kwargs=True
        )
        list(animator.animate_group(group, [Part(1, talk.take(slice(0, 5)))]))
        weights = masks[0].weights.float()
        assert not weights[:, :, : weights.shape[2] // 2 - 1].any() and weights.any()

    def test_one_face_alone_is_not_masked(self, load, portrait, talk):
        animator, masks = load(), []
        animator.pipeline.transformer.register_forward_pre_hook(
            lambda _, given, kwargs: masks.append(kwargs["expression_mask"]), with_kwargs=True
        )
        film(animator, portrait, talk, 5)
        assert masks and all(mask is None for mask in masks)

    def test_boxes_follow_the_face_and_hold_it(self, group):
        landmarks = np.stack([face.landmarks for face in group.faces])
        boxes = face_boxes(landmarks)
        assert boxes.shape == (2, 4)
        assert (boxes[:, :2] < landmarks[..., :2].min(1)).all() and (boxes[:, 2:] > landmarks[..., :2].max(1)).all()
        assert np.allclose(face_boxes(landmarks + (5, 7, 0)), boxes + (5, 7, 5, 7), atol=1e-3)


class TestResume:
    def test_a_stopped_film_goes_on_bit_for_bit(self, load, portrait, talk, tmp_path):
        whole = film(load(), portrait, talk, 60)
        stopped = load().animate(portrait, talk.take(slice(0, 60)), work=WorkFolder(tmp_path))
        begun = list(islice(stopped, 20))
        stopped.close()
        work = WorkFolder(tmp_path)
        resumed = film(load(), portrait, talk, 60, work)
        assert 0 < work.recalled < len(list(tmp_path.glob("window-*")))
        assert same(begun, whole[:20]) and same(resumed, whole)

    @pytest.mark.parametrize(
        ("changes", "named"), [({"seed": 1}, "seed"), ({"guidance": 2.0}, "guidance"), ({"size": 128}, "longest")]
    )
    def test_a_work_folder_of_another_film_is_refused_at_once(self, load, portrait, talk, tmp_path, changes, named):
        next(load().animate(portrait, talk, work=WorkFolder(tmp_path)))
        with pytest.raises(OptionError, match=rf"not the same: [\w ,]*{named}"):
            load(**changes).animate(portrait, talk, work=WorkFolder(tmp_path))
        with pytest.raises(OptionError, match="not the same: movement"):
            load().animate(portrait, talk.take(slice(0, 9)), work=WorkFolder(tmp_path))

    def test_a_work_folder_of_other_features_is_refused_at_once(self, load, portrait, tmp_path):
        features = np.zeros((5, 554), np.float32)
        list(load().animate_features(portrait, [features], work=WorkFolder(tmp_path)))
        with pytest.raises(OptionError, match="not the same: movement"):
            load().animate_features(portrait, [features + 1], work=WorkFolder(tmp_path))


class TestEncoder:
    """Which of both makes the features: the encoder or the motion projection."""

    @pytest.fixture
    def without(self, tmp_path, monkeypatch):
        monkeypatch.setenv("MIEN_WEIGHTS", str(tmp_path))
        monkeypatch.setattr(places, "CACHE", tmp_path)

    def test_clips_take_the_projection_where_the_encoder_is_missing(self, load, without):
        assert load().encoder_for({"driving"}) is None

    def test_neither_is_one_sentence(self, load, without):
        animator = load()
        animator.pipeline.register_modules(motion_projection=None)
        with pytest.raises(
            WeightsError, match=r"^[^\n]*pd_fpg\.pth[^\n]*mien weights pull pd-fgc[^\n]*train_projection"
        ):
            animator.encoder_for({"driving"})

    @pytest.mark.parametrize("kinds", [{"motion"}, {"audio"}, {"driving", "motion"}])
    def test_motions_and_sounds_need_the_projection(self, load, kinds):
        animator = load()
        assert animator.encoder_for(kinds - {"driving"}) is None
        animator.pipeline.register_modules(motion_projection=None)
        with pytest.raises(WeightsError, match=r"^[^\n]*no motion projection[^\n]*$"):
            animator.encoder_for(kinds)


class TestLoading:
    def test_the_folder_says_which_animator_it_wants(self, load, tiny_pipeline_folder):
        assert isinstance(load(), ExpressionAnimator)
        assert not isinstance(PortraitAnimator.from_pretrained(tiny_pipeline_folder), ExpressionAnimator)

    @pytest.mark.parametrize("options", [{"dtype": "bfloat16"}, {"scheduler": "dpm++"}])
    def test_other_dtypes_and_schedulers_draw_other_but_finite_frames(self, load, portrait, talk, options):
        frames = film(load(**options, steps=3), portrait, talk, 5)
        assert not same(frames, film(load(steps=3), portrait, talk, 5))
        assert len({frame.tobytes() for frame in frames}) == 5

    def test_options_of_large_models_are_read_as_this_ones(self):
        assert ExpressionOptions.of(FullSizeOptions()) == ExpressionOptions()
        chosen = ExpressionOptions.of(FullSizeOptions(window=41, size=448, guidance=3.0, scheduler="dpm++"))
        assert chosen == ExpressionOptions(window=11, overlap=5, longest=448, guidance=3.0, scheduler="dpm++")
        assert ExpressionOptions.of(FullSizeOptions(window=41, overlap=8)).overlap == 2

    @pytest.mark.parametrize(
        "options",
        [{"preview": True}, {"scheduler": "lcm"}, {"window": 5}, {"offload": "model"}, {"attention": "flash"}],
    )
    def test_what_this_model_or_machine_cannot_do_is_one_sentence(self, tiny_expression_folder, options):
        with pytest.raises((OptionError, WeightsError), match=r"^[^\n]+\.$"):
            PortraitAnimator.from_pretrained(tiny_expression_folder, full_size=FullSizeOptions(**options))

    @pytest.mark.parametrize(
        ("gone", "named"),
        [
            ("transformer/config.json", "transformer/config.json"),
            ("vae/diffusion_pytorch_model.safetensors", r"vae/\*.safetensors"),
            ("scheduler/scheduler_config.json", "scheduler_config"),
            ("empty_prompt.safetensors", "empty_prompt"),
        ],
    )
    def test_a_missing_part_is_named(self, tiny_expression_folder, tmp_path, gone, named):
        folder = tmp_path / "model"
        shutil.copytree(tiny_expression_folder, folder)
        (folder / gone).unlink()
        with pytest.raises(WeightsError, match=rf"^[^\n]*{named}[^\n]*\.$"):
            PortraitAnimator.from_pretrained(folder)

    def test_a_text_encoder_that_nobody_asks_is_not_even_read(self, tiny_expression_folder, tmp_path):
        folder = tmp_path / "model"
        shutil.copytree(tiny_expression_folder, folder)
        index = json.loads((folder / "model_index.json").read_text())
        index |= {
            "text_encoder": ["transformers", "UMT5EncoderModel"],
            "tokenizer": ["transformers", "T5TokenizerFast"],
        }
        (folder / "model_index.json").write_text(json.dumps(index))
        assert PortraitAnimator.from_pretrained(folder).pipeline.text_encoder is None
        (folder / "empty_prompt.safetensors").unlink()
        with pytest.raises(WeightsError, match="text_encoder"):
            PortraitAnimator.from_pretrained(folder)

    def test_a_model_without_a_projection_says_so(self, load, portrait, talk):
        animator = load()
        animator.pipeline.register_modules(motion_projection=None)
        with pytest.raises(WeightsError, match="motion projection"):
            animator.animate(portrait, talk)

    def test_the_empty_text_is_kept_beside_the_model(self, tiny_expression_folder, tmp_path, monkeypatch):
        pipeline = load_expression_pipeline(tiny_expression_folder)
        states = torch.ones(1, 3, 16)
        monkeypatch.setattr(ExpressionPipeline, "encode_prompt", lambda self, *_: states)
        folder = tmp_path / "model"
        shutil.copytree(tiny_expression_folder, folder)
        write_empty_prompt(pipeline, folder)
        assert torch.equal(PortraitAnimator.from_pretrained(folder).prompt, states)


def _targets(portrait, motion):
    from animate.retarget import retarget

    yield from retarget(portrait.faces[0].landmarks, motion)
