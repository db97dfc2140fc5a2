import numpy as np
import pytest

from animate import measures
from animate import topology as mesh
from animate.motion import Motion
from talking_face.basis import NEUTRAL_GAP, LowerFaceBasis, lower_face, neutral_face, set_lip_gaps, symmetric
from weights.errors import WeightsError


@pytest.fixture(scope="module")
def expression():
    return Motion.builtin("talk").expression


@pytest.fixture(scope="module")
def basis(expression):
    return LowerFaceBasis.fit([expression, expression[:20]], 6, database=40)


def test_decoding_gives_back_the_mouths_opening(basis, expression):
    wanted = symmetric(expression) * lower_face()[:, None]
    given = basis.decode(basis.encode(expression))
    opening = measures.mouth_opening(wanted)
    assert np.corrcoef(opening, measures.mouth_opening(given))[0, 1] > 0.99


def test_encoding_what_was_decoded_changes_nothing(basis):
    coefficients = np.random.default_rng(0).normal(size=(5, len(basis))).astype(np.float32)
    np.testing.assert_allclose(basis.encode(basis.decode(coefficients), faded=True), coefficients, atol=1e-3)


def test_every_component_is_symmetric(basis):
    np.testing.assert_allclose(symmetric(basis.components), basis.components, atol=1e-5)


def test_speech_moves_neither_eyes_nor_brows(basis):
    upper = [*mesh.REGIONS["eyes"], *mesh.REGIONS["brows"], *mesh.REGIONS["irises"]]
    assert np.abs(basis.components[:, upper]).max() < 1e-3


def test_more_of_a_component_opens_the_mouth_or_leaves_it(basis):
    assert (measures.mouth_opening(basis.components) >= -1e-6).all()


def test_the_neutral_faces_lips_just_touch():
    assert measures.mouth_opening(neutral_face()) == pytest.approx(NEUTRAL_GAP, abs=2e-3)


def test_lip_gaps_are_set_exactly_enough():
    face = neutral_face()[None]
    gaps = np.full((1, len(mesh.LIP_PAIRS)), 0.1)
    np.testing.assert_allclose(measures.lip_gaps(set_lip_gaps(face, gaps)), gaps, atol=5e-3)


def test_database_holds_real_frames(basis, expression):
    frames = basis.encode(expression)
    nearest = np.abs(basis.database[:, None] - frames[None]).max(axis=2).min(axis=1)
    assert len(basis.database) == 40 and nearest.max() < 1e-2


def test_saved_and_loaded(basis, tmp_path):
    basis.save(tmp_path / "b.safetensors")
    np.testing.assert_array_equal(LowerFaceBasis.load(tmp_path / "b.safetensors").components, basis.components)


def test_a_file_that_holds_no_basis(tmp_path):
    (tmp_path / "b.safetensors").write_bytes(b"no")
    with pytest.raises(WeightsError, match="no lower-face basis"):
        LowerFaceBasis.load(tmp_path / "b.safetensors")


def test_the_embedded_basis_loads():
    basis = LowerFaceBasis.load()
    assert basis.neutral.shape == (478, 3) and len(basis.database) >= 500
