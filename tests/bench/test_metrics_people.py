"""Several people in a picture: matching against brute force and against the released code's known faults."""

from itertools import permutations

import numpy as np
import pytest

from bench.metrics import METRICS, Reference, Sample
from bench.metrics.matching import match, matched_similarity


def best_sum(similarity):
    """Brute force over all ways to give each person a face of their own."""
    if similarity.shape[0] > similarity.shape[1]:
        return best_sum(similarity.T)
    rows = range(similarity.shape[0])
    orders = permutations(range(similarity.shape[1]), similarity.shape[0])
    return max(sum(similarity[i, j] for i, j in zip(rows, order, strict=True)) for order in orders)


def total(similarity, matching):
    return sum(similarity[pair] for pair in match(similarity, matching))


SHAPES = [(n, m) for n in range(1, 7) for m in range(1, 7)]


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_optimal_is_brute_force(shape):
    rng = np.random.default_rng(shape[0] * 10 + shape[1])
    for _ in range(3 if max(shape) == 6 else 10):
        similarity = rng.uniform(-0.1, 0.6, shape)
        pairs = match(similarity)
        assert len(pairs) == min(shape) == len({i for i, _ in pairs}) == len({j for _, j in pairs})
        assert total(similarity, "optimal") == pytest.approx(best_sum(similarity))


@pytest.mark.parametrize("shape", [s for s in SHAPES if max(s) < 6], ids=str)
def test_compat_gives_each_person_one_face_and_is_never_better(shape):
    rng = np.random.default_rng(7)
    for _ in range(10):
        similarity = rng.uniform(0, 1, shape)
        pairs = match(similarity, "compat")
        assert len({i for i, _ in pairs}) == len(pairs) == len({j for _, j in pairs}) <= min(shape)
        assert total(similarity, "compat") <= total(similarity, "optimal") + 1e-9


@pytest.mark.parametrize(
    ("shape", "share"),
    [((2, 2), 0.15), ((3, 3), 0.30), ((4, 4), 0.49), ((5, 5), 0.67), ((5, 4), 0.75), ((5, 6), 0.82), ((3, 5), 0.43)],
    ids=str,
)
def test_compat_fails_as_often_as_the_released_code(shape, share):
    """Shares of random tables that the released code does not match optimally, counted on that code (300 each)."""
    rng = np.random.default_rng(0)
    tables = [rng.uniform(-0.1, 0.6, shape) for _ in range(600)]
    wrong = np.mean([total(t, "compat") < total(t, "optimal") - 1e-9 for t in tables])
    assert wrong == pytest.approx(share, abs=0.08)


def test_compat_of_a_worked_example():
    """Row 0 takes its zero; with that half of the two rows is done, and row 1 gets what is left."""
    similarity = np.array([[0.9, 0.8], [0.85, 0.1]])
    assert match(similarity, "compat") == [(0, 0), (1, 1)]
    assert match(similarity, "optimal") == [(0, 1), (1, 0)]


def test_missing_people_count_as_zero():
    assert matched_similarity(np.array([[0.6], [0.2], [0.1]])) == pytest.approx(0.2)
    assert matched_similarity(np.zeros((2, 0))) == 0


def test_wrong_arguments_are_told():
    with pytest.raises(ValueError, match="people, faces"):
        match(np.zeros(3))
    with pytest.raises(ValueError, match="greedy"):
        match(np.zeros((2, 2)), "greedy")


def value(name, people, faces, picture):
    metric = METRICS[name].create(Reference(None, None, people=people))
    metric.update(Sample(0, picture, output_faces=faces))
    return metric.value()


class TestCount:
    def test_as_many_as_asked_for(self, face):
        people = (Reference(None, None),) * 2
        found = [value("face_count", people, (face[1],) * n, face[0]) for n in range(4)]
        assert found == [0, 0, 1, 0]

    def test_a_missing_picture_is_a_failure(self):
        assert METRICS["face_count"].failed == 0 == METRICS["matched_identity"].failed

    def test_frames_nobody_looked_at_do_not_count(self, face):
        assert value("face_count", (Reference(None, None),), None, face[0]) is None


class TestMatchedIdentity:
    @pytest.fixture(autouse=True)
    def by_place(self, monkeypatch):
        """In place of a recognition network: the face's place in the picture, as a direction."""
        from bench.metrics.multi_human import MatchedIdentity

        def describe(image, landmarks):
            angle = landmarks[:, 0].mean() / 100
            return 3 * np.array([np.cos(angle), np.sin(angle)])

        monkeypatch.setattr(MatchedIdentity, "describe_face", staticmethod(describe))

    def person(self, face, x):
        mesh = face[1].copy()
        mesh[:, 0] += x - mesh[:, 0].mean()
        return Reference(face[0], mesh)

    def test_the_same_people_in_another_order(self, face):
        people = tuple(self.person(face, x) for x in (10, 60, 120))
        faces = tuple(person.landmarks for person in people[::-1])
        assert value("matched_identity", people, faces, face[0]) == pytest.approx(1)

    def test_somebody_is_missing_and_somebody_is_another(self, face):
        people = tuple(self.person(face, x) for x in (10, 60))
        alone = value("matched_identity", people, (people[1].landmarks,), face[0])
        assert alone == pytest.approx(0.5)
        stranger = self.person(face, 200).landmarks
        both = value("matched_identity", people, (people[1].landmarks, stranger), face[0])
        # Giving the second person's face to the first costs less than giving the first one the stranger's.
        assert both == pytest.approx((np.cos(0.5) + np.cos(1.4)) / 2)
        assert value("matched_identity", people, (), face[0]) == 0

    def test_compat_differs_where_the_code_is_wrong(self, face):
        people = tuple(self.person(face, x) for x in (0, 30, 55, 90, 140))
        rng = np.random.default_rng(1)
        lower = 0
        for _ in range(20):
            faces = tuple(self.person(face, x).landmarks for x in rng.uniform(0, 150, 5))
            found = [value(n, people, faces, face[0]) for n in ("matched_identity", "matched_identity_compat")]
            assert found[1] <= found[0] + 1e-9
            lower += found[1] < found[0] - 1e-6
        assert lower > 5

    def test_people_without_pictures_cannot_be_matched(self, face):
        assert value("matched_identity", (Reference(None, None),), (face[1],), face[0]) is None


def test_dlib_tells_people_apart(face, shared, redetector):
    pytest.importorskip("dlib", reason="identity needs the extra bench")
    from animate.media import read_image

    paths = sorted((shared / "data/examples/portraits").glob("assets-person-*female*"))[:2]
    images = [read_image(path)[..., :3] for path in paths]
    people = [Reference(image, redetector.tracker.detect(image)[0].landmarks) for image in images]
    side = np.concatenate([images[1], images[0]], 1)
    shift = np.array([images[1].shape[1], 0, 0], np.float32)
    faces = (people[1].landmarks, people[0].landmarks + shift)
    right = value("matched_identity", tuple(people), faces, side)
    stranger = value("matched_identity", (people[0], Reference(*face)), faces, side)
    assert right > 0.99 > stranger
