import numpy as np
import pytest

from talking_face.basis import LowerFaceBasis
from talking_face.curves import RATE
from talking_face.measures import articulation
from talking_face.phones import PHONES, Phone
from talking_face.visemes import PHONE_SHAPES, SHAPES, VisemeModel, keys, segments_of
from weights.errors import WeightsError


@pytest.fixture(scope="module")
def basis():
    return LowerFaceBasis.load()


@pytest.fixture(scope="module")
def model():
    return VisemeModel.load()


def phones(text, length=0.12):
    names = text.split()
    return [Phone(n, i * length, (i + 1) * length, int(n in "AA IY UW AO".split())) for i, n in enumerate(names)]


def shown(model, basis, said):
    count = int(said[-1].end * RATE)
    coefficients, closure = model.curves(said, count)
    return articulation(basis.neutral + basis.decode(coefficients)), closure


def at(phone):
    return round((phone.start + phone.end) / 2 * RATE)


def test_every_phone_has_a_shape():
    assert set(PHONE_SHAPES) == set(PHONES)
    assert {name for shapes in PHONE_SHAPES.values() for name in shapes} <= set(SHAPES)


def test_shares_sum_to_one(model):
    blend = model.blend(phones("SIL HH AA M IY SIL"), 40)
    np.testing.assert_allclose(blend.sum(axis=1), 1)


@pytest.mark.parametrize("stop", ["M", "B", "P"])
def test_lips_meet_for_bilabials_between_open_vowels(model, basis, stop):
    said = phones(f"SIL AA {stop} AA SIL")
    mouth, closure = shown(model, basis, said)
    assert closure[at(said[2])] > 0.9
    assert mouth[at(said[2]), 0] < 0.4 * mouth[at(said[1]), 0]


def test_open_vowels_are_open_and_round_ones_narrow(model, basis):
    said = phones("SIL AA SIL UW SIL IY SIL", 0.3)
    mouth, _ = shown(model, basis, said)
    a, u, i = (mouth[at(said[k])] for k in (1, 3, 5))
    assert a[0] > u[0] and a[0] > i[0]
    assert u[1] < i[1]


def test_a_vowel_between_two_others_leans_on_them(model, basis):
    alone, _ = shown(model, basis, phones("AA T AA"))
    round_, _ = shown(model, basis, phones("UW T UW"))
    assert alone[9, 0] > round_[9, 0]


def test_long_silence_closes_the_lips(model):
    said = [Phone("AA", 0, 0.3, 1), Phone("SIL", 0.3, 2.0), Phone("AA", 2.0, 2.3, 1)]
    closure = model.closure(said, 115)
    assert closure[60] == 1 and closure[10] == 0


def test_the_same_rows_whatever_the_stretch(model):
    said = phones("SIL B AA T UW M IY SIL")
    whole, shut = model.curves(said, 48)
    part, some = model.curves(said, 20, 15)
    np.testing.assert_allclose(part, whole[15:35], atol=1e-6)
    np.testing.assert_allclose(some, shut[15:35])


def test_labels_without_stress_count_their_vowels_as_stressed():
    said = [Phone("AA", 0, 0.1), Phone("AH", 0.1, 0.2)]
    marked = [Phone("AA", 0, 0.1, 1), Phone("AH", 0.1, 0.2, 0)]
    assert segments_of(said) == segments_of(marked)


def test_fit_moves_a_phone_towards_what_speakers_do(model):
    said = phones("SIL AA SIL AA SIL AA SIL", 0.3)
    coefficients = model.curves(said, 105)[0]
    wider = coefficients + 0.5 * (coefficients != 0)
    fitted, gains = model.fit([(said, wider), (said, wider)], ridge=1.0)
    row = keys().index("AA.0")
    before = np.linalg.norm(model.targets[row] + 0.5 - model.targets[row])
    assert np.linalg.norm(model.targets[row] + 0.5 - fitted.targets[row]) < 0.6 * before
    assert gains[0] == pytest.approx(gains[1])


def test_saved_and_loaded(model, tmp_path):
    model.save(tmp_path / "v.safetensors")
    np.testing.assert_allclose(VisemeModel.load(tmp_path / "v.safetensors").targets, model.targets, atol=1e-6)


def test_a_damaged_file(tmp_path):
    (tmp_path / "v.safetensors").write_bytes(b"x" * 20)
    with pytest.raises(WeightsError, match="no viseme model"):
        VisemeModel.load(tmp_path / "v.safetensors")
