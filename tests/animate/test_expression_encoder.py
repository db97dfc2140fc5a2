"""PD-FGC's encoder: its interface and its weights, how faces are aligned for it, and frames without a face."""

from fractions import Fraction

import cv2
import numpy as np
import pytest
import torch

from animate import pose
from animate import topology as mesh
from animate.errors import FaceError, MotionError, WeightsError
from animate.expression_clip import (
    SIDE,
    TEMPLATE,
    ExpressionTrack,
    align_face,
    bridge,
    encode_clip,
    similarity,
)
from animate.faces import FaceTrack
from animate.models.expression_encoder import ExpressionEncoder, load_encoder

torch.set_num_threads(1)

SMALL = {"width": 8, "maps": 4}


@pytest.fixture(scope="module")
def encoder() -> ExpressionEncoder:
    torch.manual_seed(0)
    made = ExpressionEncoder(**SMALL)
    with torch.no_grad():  # untrained, the last map is negative everywhere, and nothing would come through
        made.model.conv6.weight.normal_(std=0.5)
        made.model.conv6.bias.fill_(1.0)
        made.model.fc.weight.normal_()
    return made.eval()


@pytest.fixture
def track(astronaut, astronaut_landmarks) -> FaceTrack:
    """Six frames of the same face that wanders to the right; frames 2 and 3 do not show it."""
    seen = [0, 1, 4, 5]
    return FaceTrack.from_sightings(
        seen, [astronaut_landmarks + (4 * n, 0, 0) for n in seen], 6, Fraction(25), astronaut.shape[1::-1]
    )


def frames(astronaut, count: int = 6):
    return [np.roll(astronaut, 4 * n, axis=1) for n in range(count)]


class TestNetwork:
    def test_the_published_size(self):
        """387 tensors, 9.0 million numbers, under the published names."""
        with torch.device("meta"):
            state = ExpressionEncoder().state_dict()
        assert len(state) == 387
        shapes = {
            "model.conv1.weight": (64, 3, 7, 7),
            "model.m0.b2_plus_1.conv1.weight": (128, 256, 3, 3),
            "model.l0.weight": (68, 256, 1, 1),
            "model.fc.weight": (512, 784),
            "to_mouth.2.running_mean": (512,),
            "mouth_embed.1.weight": (500, 512),
            "headpose_embed.1.weight": (6, 512),
            "eye_embed.1.weight": (6, 512),
            "emo_embed.1.weight": (30, 512),
        }
        assert {name: tuple(state[name].shape) for name in shapes} == shapes

    def test_a_face_is_554_numbers(self, encoder):
        faces = torch.rand(2, 3, SIDE, SIDE) * 2 - 1
        with torch.no_grad():
            made = encoder(faces)
            alone = encoder(faces[:1])
        assert made.shape == (2, 554) and torch.allclose(made[:1], alone, atol=1e-3)
        assert (made[0] - made[1]).abs().max() > 0.1
        with pytest.raises(ValueError, match="224"):
            encoder(torch.zeros(1, 3, 112, 112))

    def test_the_mouths_feature_is_its_heads(self, encoder):
        faces = torch.rand(1, 3, SIDE, SIDE)
        with torch.no_grad():
            assert torch.equal(encoder(faces)[:, 42:], encoder.to_mouth(encoder.model(faces)))


class TestWeights:
    def test_a_checkpoint_is_loaded_strictly(self, encoder, tmp_path):
        state = encoder.state_dict() | {"classifier.0.weight": torch.zeros(3)}
        torch.save({"state_dict": state}, tmp_path / "pd_fpg.pth")
        loaded = load_encoder(tmp_path / "pd_fpg.pth", **SMALL)
        assert not loaded.training
        assert all(torch.equal(value, loaded.state_dict()[name]) for name, value in encoder.state_dict().items())

    @pytest.mark.parametrize(
        ("change", "named"),
        [
            (lambda state: state.pop("model.fc.bias"), "1 missing: model.fc.bias"),
            (lambda state: state.update(extra=torch.zeros(1)), "1 unexpected: extra"),
            (lambda state: state.update({"model.fc.bias": torch.zeros(3)}), r"model.fc.bias is \(3,\)"),
        ],
    )
    def test_what_does_not_fit_is_listed(self, encoder, tmp_path, change, named):
        state = dict(encoder.state_dict())
        change(state)
        torch.save(state, tmp_path / "pd_fpg.pth")
        with pytest.raises(WeightsError, match=named):
            load_encoder(tmp_path / "pd_fpg.pth", **SMALL)

    def test_a_folder_of_its_own(self, encoder, tmp_path):
        encoder.save_pretrained(tmp_path)
        assert torch.equal(load_encoder(tmp_path).model.fc.weight, encoder.model.fc.weight)

    def test_missing_weights_are_one_sentence_that_names_the_file(self, tmp_path, monkeypatch):
        monkeypatch.setenv("MIEN_WEIGHTS", str(tmp_path))
        monkeypatch.setenv("HF_HOME", str(tmp_path))
        for path in (None, tmp_path / "none.pth"):
            with pytest.raises(WeightsError, match=r"^[^\n]*pd_fpg\.pth[^\n]*$"):
                load_encoder(path)


class TestAlignment:
    def test_the_fit_is_the_best_similarity(self):
        rng = np.random.default_rng(0)
        points = rng.normal(size=(5, 2)) * 30
        angle, scale = 0.4, 1.7
        turn = scale * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
        made = similarity(points, points @ turn.T + (3, -8))
        assert np.allclose(made, np.column_stack([turn, (3, -8)]))
        noisy = points @ turn.T + rng.normal(size=(5, 2))
        best = similarity(points, noisy)

        def error(matrix):
            return ((points @ matrix[:, :2].T + matrix[:, 2] - noisy) ** 2).sum()

        for number in range(4):
            bent = best.copy()
            factor = complex(best[0, 0], best[1, 0]) + (0.01, -0.01, 0.01j, -0.01j)[number]
            bent[:, :2] = [[factor.real, -factor.imag], [factor.imag, factor.real]]
            assert error(bent) > error(best)

    def test_the_template_fits_a_mean_face(self):
        """The mesh points that stand for the template's five lie within 2.5 of 224 pixels of it."""
        face = pose.canonical_face()[:, :2].astype(float)
        eyes = [face[[33, 133]].mean(0), face[[362, 263]].mean(0)]
        five = np.stack([*eyes, face[mesh.NOSE_TIP], *face[list(mesh.MOUTH_CORNERS)]])
        matrix = similarity(five, TEMPLATE * SIDE)
        assert np.abs(five @ matrix[:, :2].T + matrix[:, 2] - TEMPLATE * SIDE).max() < 2.5

    def test_eyes_and_mouth_lie_where_they_should(self, astronaut, astronaut_landmarks):
        dotted = astronaut.copy()
        for point in astronaut_landmarks[[468, 473, 78, 308], :2]:
            cv2.circle(dotted, point.round().astype(int).tolist(), 3, (0, 255, 0), -1)
        aligned = align_face(dotted, astronaut_landmarks).astype(int)
        assert aligned.shape == (SIDE, SIDE, 3)
        green = (aligned[..., 1] - aligned[..., [0, 2]].max(-1)) > 120
        for x, y in TEMPLATE[[0, 1, 3, 4]] * SIDE:
            assert green[int(y) - 12 : int(y) + 12, int(x) - 12 : int(x) + 12].any()

    def test_a_turned_and_smaller_picture_gives_the_same_face(self, astronaut, astronaut_landmarks):
        matrix = cv2.getRotationMatrix2D((256, 200), 25, 0.8)
        turned = cv2.warpAffine(astronaut, matrix, (512, 512), flags=cv2.INTER_CUBIC)
        moved = astronaut_landmarks.copy()
        moved[:, :2] = moved[:, :2] @ matrix[:, :2].T + matrix[:, 2]
        one, other = align_face(astronaut, astronaut_landmarks), align_face(turned, moved)
        assert np.abs(one.astype(int) - other)[40:180, 40:180].mean() < 4


class TestClip:
    def test_frames_without_a_face_keep_their_place(self, encoder, astronaut, track):
        made = encode_clip(iter(frames(astronaut)), track, encoder, batch=3)
        assert len(made) == 6 and made.fps == 25
        assert made.valid.tolist() == [True, True, False, False, True, True]
        step = (made.features[4] - made.features[1]) / 3
        assert np.allclose(made.features[2], made.features[1] + step, atol=1e-6)
        assert np.allclose(made.features[3], made.features[1] + 2 * step, atol=1e-6)

    def test_each_frame_is_encoded_at_its_own_landmarks(self, encoder, astronaut, track):
        """The face only wanders: with the right landmarks all features are one and the same."""
        made = encode_clip(frames(astronaut), track, encoder).features
        track.landmarks[4:] += (30, 0, 0)
        wrong = encode_clip(frames(astronaut), track, encoder).features
        assert np.abs(made - made[0]).max() < 0.2 * np.abs(wrong[4] - made[0]).max()

    def test_ends_hold_the_nearest_frame(self):
        valid = np.array([False, True, False, True, False])
        features = np.array([[9.0], [1], [9], [3], [9]])
        assert bridge(features, valid).ravel().tolist() == [1, 1, 2, 3, 3]

    def test_only_a_few_frames_are_held(self, encoder, astronaut, track):
        ahead = []

        def stream():
            for number, frame in enumerate(frames(astronaut)):
                ahead.append(number)
                yield frame

        counted = []
        encoder_calls = encoder.register_forward_hook(lambda *_: counted.append(len(ahead)))
        encode_clip(stream(), track, encoder, batch=1)
        encoder_calls.remove()
        assert counted == [1, 2, 5, 6]

    def test_clips_that_do_not_fit_are_refused(self, encoder, astronaut, track):
        with pytest.raises(FaceError, match="4 frames but 6"):
            encode_clip(frames(astronaut, 4), track, encoder)
        track.valid[:] = False
        with pytest.raises(FaceError, match="No frame"):
            encode_clip(frames(astronaut), track, encoder)

    def test_features_are_saved_and_read(self, tmp_path):
        track = ExpressionTrack(np.ones((3, 554), np.float32), np.array([True, False, True]), Fraction(30000, 1001))
        track.save(tmp_path / "a.safetensors")
        read = ExpressionTrack.load(tmp_path / "a.safetensors")
        assert np.array_equal(read.features, track.features) and np.array_equal(read.valid, track.valid)
        assert read.fps == track.fps
        (tmp_path / "b.safetensors").write_bytes(b"no")
        with pytest.raises(MotionError, match="b.safetensors"):
            ExpressionTrack.load(tmp_path / "b.safetensors")
