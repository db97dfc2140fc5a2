"""The full-size animator with a tiny pipeline of random weights: what it draws, keeps, refuses and holds."""

import tracemalloc
from itertools import islice

import numpy as np
import pytest

from animate.animator import EMBEDDED, PortraitAnimator, is_full_size
from animate.errors import OptionError, WeightsError
from animate.full_size_options import FullSizeOptions
from animate.motion import Motion
from animate.portrait import Portrait
from animate.work_folder import WorkFolder

SMALL = {"size": 64, "window": 5, "overlap": 2}


@pytest.fixture(scope="module")
def portrait(astronaut):
    return Portrait.from_image(np.ascontiguousarray(astronaut[:256, 96:352]))


@pytest.fixture(scope="module")
def load(tiny_pipeline_folder):
    """A maker of animators of the tiny pipeline."""

    def make(steps=None, seed=0, **options) -> PortraitAnimator:
        chosen = FullSizeOptions(**{**SMALL, **options})
        return PortraitAnimator.from_pretrained(tiny_pipeline_folder, steps=steps, seed=seed, full_size=chosen)

    return make


def film(animator, portrait, motion, count, work=None):
    return list(animator.animate(portrait, motion.take(slice(0, count)), work=work))


def same(one, other) -> bool:
    return len(one) == len(other) and all(np.array_equal(a, b) for a, b in zip(one, other, strict=True))


@pytest.mark.parametrize("long", ["progressive", "overlap"])
@pytest.mark.parametrize("count", [1, 5, 6, 23])
def test_every_frame_of_the_motion_is_drawn_at_the_portraits_size(load, portrait, talk, long, count):
    made = film(load(long=long), portrait, talk, count)
    assert len(made) == count
    assert all(frame.shape == portrait.image.shape and frame.dtype == np.uint8 for frame in made)


def test_only_the_square_round_the_face_changes(load, astronaut, talk):
    whole = Portrait.from_image(astronaut)
    frame = film(load(), whole, talk, 1)[0]
    rows, columns = np.nonzero((frame != astronaut).any(-1))
    x0, y0, x1, y1 = whole.faces[0].box
    assert columns.min() < x0 and columns.max() > x1 and rows.min() < y0 and rows.max() > y1
    assert np.ptp(rows) < 300 and np.ptp(columns) < 300


def test_landmarks_decide_what_is_drawn(load, portrait, talk):
    still = Motion.builtin("talk").take(np.zeros(5, int))
    one, other = film(load(), portrait, talk.take(slice(20, 25)), 5), film(load(), portrait, still, 5)
    assert not same(one, other)


def test_the_same_seed_gives_the_same_frames_and_another_seed_others(load, portrait, talk):
    one, two, other = (film(load(seed=seed), portrait, talk, 7) for seed in (1, 1, 2))
    assert same(one, two) and not same(one, other)


def test_frames_of_a_clip_do_not_depend_on_what_comes_long_after(load, portrait, talk):
    """Windows are functions of what came before; the square is that of the whole motion, so it is held fast here."""
    animator, own = load(long="overlap"), portrait.faces[0].landmarks
    targets = [own + (0.3 * n, 0, 0) for n in range(20)]
    short, long = (list(animator.render(portrait, iter(targets[:n]), own)) for n in (11, 20))
    assert same(short[:9], long[:9])


@pytest.mark.parametrize("long", ["progressive", "overlap"])
def test_a_stopped_film_goes_on_from_its_work_folder_bit_for_bit(load, portrait, talk, long, tmp_path):
    whole = film(load(long=long), portrait, talk, 23)
    motion = talk.take(slice(0, 23))
    stopped = load(long=long).animate(portrait, motion, work=WorkFolder(tmp_path))
    begun = list(islice(stopped, 9))
    stopped.close()
    work = WorkFolder(tmp_path)
    resumed = film(load(long=long), portrait, talk, 23, work)
    assert 0 < work.recalled < len(list(tmp_path.glob("window-*")))
    assert same(begun, whole[:9]) and same(resumed, whole)


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"seed": 1}, "seed"),
        ({"guidance": 2.0}, "guidance"),
        ({"long": "overlap"}, "long, overlap"),
        ({"steps": 3}, "steps"),
    ],
)
def test_a_work_folder_of_another_film_is_refused_at_once(load, portrait, talk, tmp_path, changes, named):
    next(load().animate(portrait, talk, work=WorkFolder(tmp_path)))
    with pytest.raises(OptionError, match=rf"not the same: [\w ,]*{named}"):
        load(**changes).animate(portrait, talk, work=WorkFolder(tmp_path))
    with pytest.raises(OptionError, match="not the same: movement"):
        load().animate(portrait, talk.take(slice(0, 9)), work=WorkFolder(tmp_path))


def test_memory_does_not_grow_with_the_length(load, portrait, talk):
    def peak(frames: int) -> int:
        motion = talk.take(np.arange(frames) % len(talk))
        animator = load(steps=1, guidance=1.0, long="overlap")
        films = animator.animate(portrait, motion)
        next(films)
        tracemalloc.start()
        for _ in films:
            pass
        most = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return most

    short, long = peak(24), peak(64)
    assert long < short + 10 * portrait.image.nbytes


def test_the_square_is_large_enough_for_where_the_face_will_go(load, astronaut, talk):
    portrait = Portrait.from_image(astronaut)
    far = talk.take(np.arange(3))  # a copy
    far.translation[-1, 0] += 3  # inter-ocular distances to the right

    def reach(motion):
        frame = next(load().animate(portrait, motion))
        return np.nonzero((frame != astronaut).any(axis=(0, 2)))[0].max()

    assert reach(far.take(slice(0, 1))) + 20 < reach(far.take(np.array([0, 2])))


def test_a_transparent_portrait_keeps_its_transparency(load, portrait, talk):
    image = np.dstack([portrait.image, np.full(portrait.image.shape[:2], 255, np.uint8)])
    image[:40, :, 3] = 0
    frame = film(load(), Portrait(image, portrait.faces), talk, 1)[0]
    assert np.array_equal(frame[..., 3], image[..., 3])


@pytest.mark.parametrize("options", [{"dtype": "bfloat16"}, {"scheduler": "dpm++"}, {"scheduler": "lcm"}])
def test_other_dtypes_and_schedulers_draw_other_but_finite_frames(load, portrait, talk, options):
    frames = film(load(**options, steps=3), portrait, talk, 6)
    assert not same(frames, film(load(steps=3), portrait, talk, 6))
    assert len({frame.tobytes() for frame in frames}) == 6


def test_mini_and_full_size_folders_are_told_apart(tiny_pipeline_folder):
    assert is_full_size(tiny_pipeline_folder)
    if (EMBEDDED / "mini" / "unet").is_dir():
        assert not is_full_size(EMBEDDED / "mini")


@pytest.mark.parametrize(
    "options",
    [
        {"long": "round"},
        {"window": 2},
        {"window": 8, "overlap": 5},
        {"guidance": 0.5},
        {"guidance": float("nan")},
        {"size": 100},
        {"dtype": "int8"},
        {"scheduler": "euler"},
        {"offload": "disk"},
        {"attention": "magic"},
    ],
)
def test_options_that_do_not_work_are_one_sentence(options):
    with pytest.raises(OptionError, match=r"^[^\n]*--[^\n]+\.$"):
        FullSizeOptions(**options)


@pytest.mark.parametrize("options", [{"window": 33}, {"offload": "model"}, {"attention": "flash"}, {"preview": True}])
def test_what_this_model_or_machine_cannot_do_is_one_sentence(load, options, tmp_path, monkeypatch):
    monkeypatch.setenv("MIEN_WEIGHTS", str(tmp_path))
    monkeypatch.setenv("HF_HOME", str(tmp_path))
    with pytest.raises((OptionError, WeightsError), match=r"^[^\n]+\.$"):
        load(**options)


def test_full_size_options_for_mini_are_named():
    with pytest.raises(OptionError, match="leave out --guidance, --size"):
        PortraitAnimator.from_pretrained("mini", full_size=FullSizeOptions(guidance=2.0, size=256))


def test_dubbing_with_a_model_that_draws_whole_pictures_is_refused(load):
    from talking_face.dub import Dubber

    with pytest.raises(OptionError, match="choose mini"):
        Dubber(load())


class TestGroups:
    @pytest.fixture(scope="class")
    @classmethod
    def pair(cls, astronaut):
        one = Portrait.from_image(np.ascontiguousarray(astronaut[:256, 100:356]))
        face = one.faces[0]
        moved = face.landmarks + np.float32([256, 0, 0])
        other = type(face)(face.box + np.float32([256, 0, 256, 0]), moved, face.score, 1)
        return Portrait(np.hstack([one.image] * 2), [face, other], "pair")

    def test_each_face_is_drawn_and_one_that_stays_stays(self, load, pair, talk):
        from animate.group import Part

        motion = talk.trim(0, 0.16)
        middle = [tuple(face.landmarks[4, 1::-1].astype(int)) for face in pair.faces]
        both = list(load().animate_group(pair, [Part(0, motion), Part(1, motion)]))
        one = list(load().animate_group(pair, [Part(1, motion)]))
        assert len(both) == len(one) == len(motion)
        for frame, single in zip(both, one, strict=True):
            assert all((frame[at] != pair.image[at]).any() for at in middle)
            assert (single[middle[0]] == pair.image[middle[0]]).all() and (single[middle[1]] == frame[middle[1]]).all()

    def test_a_stopped_group_goes_on_from_its_work_folder(self, load, pair, talk, tmp_path):
        from animate.group import Part

        parts = [Part(0, talk.trim(0, 0.16)), Part(1, talk.trim(0, 0.16))]
        first = list(load().animate_group(pair, parts, work=WorkFolder(tmp_path)))
        work = WorkFolder(tmp_path)
        assert same(first, list(load().animate_group(pair, parts, work=work)))
        assert work.recalled == 2
