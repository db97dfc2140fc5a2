"""Metrics against numbers that are known: worked out by hand, or computed a second time in another way.

Pictures are neither square nor grey, so that no side and no colour can stand for another.
"""

from fractions import Fraction

import numpy as np
import pytest
import torch
from torch.nn import functional

from bench.metrics import METRICS, Reference, Sample, arcface, inception, l2cs, lpips_network
from bench.metrics.face_parameters import face_square, smirk_square
from bench.metrics.lost import FaceTally
from bench.metrics.lpips import head_file
from bench.metrics.lse import LipSyncClip, face_box, lip_square, smoothed
from bench.metrics.onnx_network import picture_batch
from tests.bench.test_metrics_weights import Parameters, flattening_network


@pytest.fixture
def put(tmp_path, monkeypatch):
    """Function: name of weights and file -> where they are looked for; no others are found."""
    from bench.metrics import face_parameters, fvd, syncnet

    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("MIEN_WEIGHTS", str(tmp_path / "weights"))
    loaders = [module.network for module in (face_parameters, fvd, syncnet, lpips_network)]

    def run(name, file):
        (tmp_path / "weights" / name).mkdir(parents=True)
        return tmp_path / "weights" / name / file

    for loader in loaders:
        loader.cache_clear()
    yield run
    for loader in loaders:
        loader.cache_clear()


def picture(height, width, seed=0):
    """A smooth picture, every channel another."""
    import cv2

    small = np.random.default_rng(seed).integers(0, 256, (height // 8 + 2, width // 8 + 2, 3), np.uint8)
    return cv2.resize(small, (width, height), interpolation=cv2.INTER_CUBIC)


def mesh(left, top, right, bottom):
    """(478, 3) landmarks that fill a box."""
    rng = np.random.default_rng(0)
    points = rng.uniform((left, top, -9), (right, bottom, 9), (478, 3))
    points[:2] = (left, top, 0), (right, bottom, 0)
    return points.astype(np.float32)


def arcface_mesh():
    """(478, 3) landmarks whose eyes, nose and mouth are where ArcFace has them in 112 px."""
    points = mesh(10, 10, 100, 100)
    points[list(arcface.POINTS), :2] = arcface.TEMPLATE
    return points


class TestSquares:
    def test_the_square_is_as_much_larger_as_asked_for(self):
        image = np.zeros((300, 400, 3), np.uint8)
        image[100:148, 200:300] = 255  # the box: its larger side is 100 px
        crop = face_square(image, mesh(200, 100, 300, 148), 60, 1.2)
        rows, columns = (np.flatnonzero(crop[..., 0].max(axis) > 127) for axis in (1, 0))
        assert (columns[0], columns[-1], rows[0], rows[-1]) == (5, 54, 18, 41)

    def test_what_becomes_smaller_is_averaged(self):
        image = np.zeros((700, 800, 3), np.uint8)
        image[:, ::2] = 255, 127, 1
        crop = face_square(image, mesh(100, 100, 601, 500), 64, 1.0).astype(int)
        assert np.abs(crop - [127.5, 63.5, 0.5]).max() <= 4

    def test_smirks_square_is_its_demos(self):
        from scipy.ndimage import map_coordinates

        image, size = picture(300, 400), 168  # 1.4 * (150 + 91) / 2 = 168.7
        found = smirk_square(image, mesh(80, 120, 230, 211))
        steps = np.arange(224) * size / 223
        rows, columns = np.meshgrid(165.5 - size / 2 + steps, 155 - size / 2 + steps, indexing="ij")
        expected = np.stack([map_coordinates(image[..., k] * 1.0, (rows, columns), order=1) for k in range(3)], -1)
        assert np.abs(found - expected).max() < 2

    def test_smirks_square_keeps_the_stripes_that_its_demo_keeps(self):
        image = np.zeros((900, 700, 3), np.uint8)
        image[:, ::2] = 255
        found = smirk_square(image, mesh(50, 80, 650, 800))
        assert found.min() < 60 and found.max() > 195


class TestLipSquare:
    def test_reaches_lower_than_the_box(self):
        image = np.full((120, 200, 3), 7, np.uint8)
        image[..., 0] = np.clip(4 * np.arange(200) - 288, 0, 255)
        image[..., 1] = np.clip(4 * np.arange(120) - 120, 0, 255)[:, None]
        crop = lip_square(image, np.array([100.5, 50.9, 20.0])).astype(float)
        # x from 100.5 - 28 to 100.5 + 28, y from 50.9 - 20 to 50.9 + 36, whole px: 56 px as 224.
        steps = np.clip(np.arange(224) - 1.5, 0, 220)
        assert np.abs(crop[..., 0] - steps).max() <= 0.75
        assert np.abs(crop[..., 1] - steps[:, None]).max() <= 0.75
        assert (crop[..., 2] == 7).all()

    def test_grey_round_the_picture(self):
        image = np.full((40, 60, 3), (200, 10, 60), np.uint8)
        crop = lip_square(image, np.array([10.0, 8.0, 20.0]))  # x -18 to 38, y -12 to 44
        assert (crop[:46] == 110).all() and (crop[:, :70] == 110).all() and (crop[-14:] == 110).all()
        assert (crop[50:206, 74:] == (200, 10, 60)).all()

    def test_box_of_a_face(self):
        assert face_box(mesh(10, 20, 70, 120)) == pytest.approx([40, 70, 50])

    def test_medians_are_those_of_the_published_filter(self):
        from scipy.signal import medfilt

        boxes = np.random.default_rng(0).uniform(1, 100, (40, 3))
        expected = np.stack([medfilt(boxes[:, k], 13) for k in range(3)], -1)
        assert np.array([smoothed(boxes, t) for t in range(40)]) == pytest.approx(expected)


@pytest.fixture
def watch():
    """Function: pictures and meshes -> what SyncNet sees, and the clip."""

    def run(pictures, meshes, fps=25):
        clip = LipSyncClip(Reference(None, None, fps=Fraction(fps)))
        for t, (shown, face) in enumerate(zip(pictures, meshes, strict=True)):
            clip.add(Sample(t, shown, output_landmarks=face, redetected=face is not None))
        return clip.frames(), clip.track

    return run


class TestLipTrack:
    def test_a_face_that_jumps_once_does_not_move_the_crop(self, watch):
        meshes = [mesh(50, 40, 90, 100)] * 30
        still, _ = watch([picture(160, 200)] * 30, meshes)
        jumped, _ = watch([picture(160, 200)] * 30, [*meshes[:15], meshes[0] + np.float32(30), *meshes[16:]])
        assert (np.stack(still) == np.stack(jumped)).all()

    def test_frames_between_two_looks_show_their_own_picture(self, watch):
        pictures = [np.full((160, 200, 3), (8 * t, 5, 90), np.uint8) for t in range(21)]
        crops, _ = watch(pictures, [None if t % 4 else mesh(50, 40, 90, 100) for t in range(21)])
        assert [tuple(crop[60, 112]) for crop in crops] == [(8 * t, 5, 90) for t in range(21)]

    def test_the_box_moves_on_between_two_looks(self, watch):
        moving = [mesh(50 + 2 * t, 40, 90 + 2 * t, 100) for t in range(25)]
        image = picture(160, 260)
        every, _ = watch([image] * 25, moving)
        fourth, _ = watch([image] * 25, [None if t % 4 else face for t, face in enumerate(moving)])
        assert (np.stack(every) == np.stack(fourth)).all()

    def test_thirty_frames_become_twentyfive(self, watch):
        pictures = [np.full((160, 200, 3), (8 * t, 5, 90), np.uint8) for t in range(13)]
        crops, _ = watch(pictures, [mesh(50, 40, 90, 100)] * 13, fps=30)
        # 0, 40, ... ms in frames of 33.3 ms: 0, 1.2, 2.4, 3.6, 4.8, 6, 7.2, 8.4, 9.6, 10.8, 12
        assert [crop[60, 112, 0] // 8 for crop in crops] == [0, 1, 2, 4, 5, 6, 7, 8, 10, 11, 12]

    def test_few_whole_pictures_are_kept(self):
        clip = LipSyncClip(Reference(None, None))
        for t in range(60):
            seen = mesh(50, 40, 90, 100) if t < 30 else None
            clip.add(Sample(t, np.zeros((160, 200, 3), np.uint8), output_landmarks=seen))
            assert len(clip.track.pictures) + len(clip.track.waiting) <= 17
        assert len(clip.frames()) == 30

    def test_a_face_that_comes_back_late_is_no_clip(self, watch):
        meshes = [mesh(50, 40, 90, 100) if t < 5 or t >= 15 else None for t in range(30)]
        assert watch([picture(160, 200)] * 30, meshes)[0] is None
        assert watch([picture(160, 200)] * 30, [*meshes[:5], *meshes[6:], meshes[-1]])[0] is not None


class TestLipSync:
    FRAMES = 9

    @pytest.fixture
    def syncnet(self, put):
        from bench.metrics.syncnet import SyncNet

        torch.manual_seed(0)
        network = SyncNet().eval()
        for weight in network.parameters():
            if weight.dim() > 1:
                torch.nn.init.kaiming_normal_(weight)
        torch.save(network.state_dict(), put("syncnet", "syncnet_v2.model"))
        return network

    def value(self, name, sound, meshes):
        metric = METRICS[name].create(Reference(None, None, sound=sound))
        for t, face in enumerate(meshes):
            metric.update(Sample(t, picture(160, 200, t), output_landmarks=face))
        return metric.value()

    def test_windows_begin_at_every_frame_but_five_and_are_blue_first(self, syncnet):
        from bench.metrics.syncnet import cepstra

        face, frames = mesh(50, 40, 90, 100), self.FRAMES
        sound = np.random.default_rng(1).normal(0, 0.1, 640 * (frames - 1) + 639).astype(np.float32)
        seen = np.stack([lip_square(picture(160, 200, t), face_box(face)) for t in range(frames)])
        blue_first = torch.from_numpy(np.stack([seen[..., 2], seen[..., 1], seen[..., 0]])).float()
        table = torch.from_numpy(cepstra(sound)).float()  # a row every 10 ms
        lips = torch.stack([syncnet.lips(blue_first[None, :, t : t + 5])[0] for t in range(3)])
        heard = torch.stack([syncnet.sound(table[4 * t : 4 * t + 20].T[None, None])[0] for t in range(3)])
        shifted = functional.pad(heard, (0, 0, 15, 15))
        means = torch.stack([functional.pairwise_distance(lips, shifted[k : k + 3]).mean() for k in range(31)])
        least = means.min()
        assert self.value("lse_d", sound, [face] * frames) == pytest.approx(float(least), rel=1e-5)
        assert self.value("lse_c", sound, [face] * frames) == pytest.approx(float(means.median() - least), abs=1e-5)

    def test_a_lost_face_is_the_outputs_fault_and_a_short_sound_is_not(self, syncnet):
        face = mesh(50, 40, 90, 100)
        lost = [face] * 8 + [None] * 20 + [face] * 8
        assert np.isnan(self.value("lse_d", np.zeros(640 * 40, np.float32), lost))
        assert self.value("lse_d", np.zeros(640 * 5, np.float32), [face] * 30) is None


class TestLostFaces:
    @pytest.mark.parametrize(
        "name", ["lse_d", "lse_c", "aed", "apd", "action_units", "emotion", "identity_arcface", "gaze_l2cs", "au_mesh"]
    )
    def test_takes_the_value_away(self, name):
        assert METRICS[name].reads_face

    def run(self, name, meshes, pictures, portrait):
        tally, metric = FaceTally(), METRICS[name].create(Reference(*portrait))
        for t, (face, shown) in enumerate(zip(meshes, pictures, strict=True)):
            sample = Sample(t, shown, portrait[0], output_landmarks=face, truth_landmarks=portrait[1])
            tally.update(sample)
            metric.update(sample)
        return tally.value(metric), metric.value()

    @pytest.mark.parametrize(("lost", "charged"), [({5}, 1), ({1, 6}, 0), ({5, 10}, 2)])
    def test_arcface_charges_the_frames_that_it_would_have_looked_at(self, put, lost, charged):
        put("insightface-buffalo_l", "w600k_r50.onnx").write_bytes(flattening_network((1, 3, 112, 112)))
        image, face = picture(120, 150), arcface_mesh()
        negative = 255 - image
        shown = [negative if t == 0 else image for t in range(30)]
        with_all = self.run("identity_arcface", [face] * 30, shown, (image, face))[0]
        worst = self.run("identity_arcface", [face], [negative], (image, face))[0]
        found = self.run("identity_arcface", [None if t in lost else face for t in range(30)], shown, (image, face))[0]
        assert worst == pytest.approx(-1) and with_all == pytest.approx((worst + 5) / 6, abs=1e-5)
        assert found == pytest.approx((worst * (1 + charged) + 5 - charged) / 6, abs=1e-5)

    def test_arcface_has_none_beyond_a_tenth(self, put):
        put("insightface-buffalo_l", "w600k_r50.onnx").write_bytes(flattening_network((1, 3, 112, 112)))
        image, face = picture(120, 150), arcface_mesh()
        found = self.run("identity_arcface", [None] * 4 + [face] * 26, [image] * 30, (image, face))
        assert np.isnan(found[0]) and np.isfinite(found[1])

    def test_expression_of_a_lost_face_is_the_worst(self, put):
        trace = torch.jit.trace(Parameters().eval(), torch.rand(1, 3, 224, 224))
        trace.save(put("smirk", "smirk_encoder.torchscript"))
        image, face = picture(130, 160), mesh(10, 10, 120, 110)
        shown = [image] * 19 + [np.zeros_like(image)]
        all_seen = self.run("aed", [face] * 20, shown, (image, face))[0]
        lost = self.run("aed", [None, *[face] * 19], shown, (image, face))[0]
        assert all_seen > 0.01 and lost == pytest.approx(2 * all_seen)


class TestGaze:
    @pytest.fixture
    def network(self, monkeypatch):
        """Looks 40 degrees along the first head's angle and -12 along the second's, whatever it sees."""
        torch.manual_seed(0)
        network = l2cs.L2CS().eval()
        for head, number in ((network.fc_yaw_gaze, 55), (network.fc_pitch_gaze, 42)):  # 4 degrees each, from -180 on
            torch.nn.init.zeros_(head.weight)
            head.bias.data = torch.full((90,), -1e4)
            head.bias.data[number] = 1e4
        monkeypatch.setattr(l2cs, "network", lambda: network)
        return network

    def test_yaw_goes_sideways_and_pitch_up_and_down(self, network):
        found = l2cs.gaze(picture(200, 300), mesh(50, 40, 90, 100))
        # cos 12 sin 40, sin 12, cos 12 cos 40 degrees
        assert found == pytest.approx([-0.628743, 0.207912, -0.749306], abs=1e-4)

    def test_colours_are_normalised_as_imagenets(self, network):
        seen = []
        network.conv1.register_forward_pre_hook(lambda _, given: seen.append(given[0]))
        l2cs.gaze(np.full((200, 300, 3), (255, 0, 51), np.uint8), mesh(50, 40, 90, 100))
        assert seen[0].shape == (1, 3, 448, 448)
        assert seen[0][0, :, 224, 224].tolist() == pytest.approx([2.248908, -2.035714, -0.915556], abs=1e-5)


class TestONNXPictures:
    def test_colours_are_normalised_as_imagenets(self):
        batch = picture_batch(np.array([[(255, 0, 51), (0, 255, 0), (0, 0, 0)]], np.uint8))
        assert batch.shape == (1, 3, 1, 3)
        assert batch[0, :, 0, 0] == pytest.approx([2.248908, -2.035714, -0.915556], abs=1e-5)
        assert batch[0, :, 0, 1] == pytest.approx([-2.117904, 2.428571, -1.804444], abs=1e-5)

    def test_arcface_sees_red_first_from_minus_one_to_one(self, put):
        put("insightface-buffalo_l", "w600k_r50.onnx").write_bytes(flattening_network((1, 3, 112, 112)))
        image = picture(120, 150)
        found = arcface.embedding(image, arcface_mesh()).reshape(3, 112, 112)
        expected = image[:112, :112].astype(float).transpose(2, 0, 1) / 127.5 - 1
        assert np.abs(found - expected).max() < 0.02

    def test_arcfaces_points_are_where_its_template_has_them(self, face):
        points = face[1][list(arcface.POINTS), :2]
        for axis in (0, 1):
            gaps = points[:, None, axis] - points[None, :, axis]
            wanted = arcface.TEMPLATE[:, None, axis] - arcface.TEMPLATE[None, :, axis]
            clear = np.abs(wanted) > 10  # px of 112
            assert (np.sign(gaps) == np.sign(wanted))[clear].all()


class TestInception:
    def test_pictures_are_stretched_and_go_from_minus_one_to_one(self, monkeypatch):
        torch.manual_seed(0)
        network, seen = inception.InceptionFeatures().eval(), []
        network.Conv2d_1a_3x3.register_forward_pre_hook(lambda _, given: seen.append(given[0]))
        monkeypatch.setattr(inception, "network", lambda: network)
        image = np.array(
            [[(255, 0, 51), (0, 102, 255), (204, 51, 0)], [(0, 255, 0), (51, 0, 255), (0, 0, 102)]], np.uint8
        )
        assert inception.features(image).shape == (2048,)
        rows, columns = ((np.arange(299) + 0.5) * side / 299 - 0.5 for side in image.shape[:2])
        for channel in range(3):
            across = np.stack([np.interp(columns, range(3), row) for row in image[..., channel]])
            expected = np.stack([np.interp(rows, range(2), column) for column in across.T], 1) / 127.5 - 1
            assert np.abs(seen[0][0, channel].numpy() - expected).max() < 1e-4

    @pytest.mark.parametrize(
        ("name", "corner"), [("Mixed_5b", 0.25), ("Mixed_6e", 0.25), ("Mixed_7b", 0.25), ("Mixed_7c", 1)]
    )
    def test_only_the_last_pooling_is_a_maximum_and_means_leave_the_padding_out(self, name, corner):
        with torch.no_grad():
            block = inception.InceptionFeatures().eval().get_submodule(name)
            for weight in block.parameters():
                weight.zero_()
            block.branch_pool.conv.weight[0, 0] = 1
            block.branch_pool.bn.weight.fill_(1)
            inputs = block.branch_pool.conv.in_channels
            spike = torch.zeros(1, inputs, 4, 6)
            spike[0, 0, 0, 0] = 1
            pooled = block(spike)[0, -block.branch_pool.conv.out_channels]
        # The corner's mean is one of 4 pixels; running variance 1 plus TensorFlow's 0.001.
        assert float(pooled[0, 0]) == pytest.approx(corner / np.sqrt(1.001), abs=1e-6)
        assert float(pooled[1, 1]) == pytest.approx((1 if corner == 1 else 1 / 9) / np.sqrt(1.001), abs=1e-6)
        assert float(pooled[2:].abs().max()) == 0


class Window(torch.nn.Module):
    """In place of I3D: says what it was given."""

    def forward(self, x: torch.Tensor, rescale: bool, resize: bool, return_features: bool) -> torch.Tensor:
        flags = torch.tensor([float(rescale), float(resize), float(return_features)])
        return torch.cat([x.mean((2, 3, 4))[0], x[0, :, 0, 0, 0], x[0, :, -1, -1, -1], flags])[None]


def test_fvd_gives_its_network_colours_from_minus_one_to_one(put):
    torch.jit.script(Window().eval()).save(str(put("fvd-i3d", "i3d_torchscript.pt")))
    metric = METRICS["fvd"].create(Reference(None, None))
    truth = np.zeros((30, 50, 3), np.uint8)
    truth[:, 25:] = 255
    for t in range(16):
        metric.update(Sample(t, np.full((30, 50, 3), (17 * t, 0, 204), np.uint8), truth))
    found = metric.features()
    assert found["output"][0] == pytest.approx([0, -1, 0.6, -1, -1, 0.6, 1, -1, 0.6, 0, 0, 1], abs=1e-5)
    assert found["truth"][0] == pytest.approx([0, 0, 0, -1, -1, -1, 1, 1, 1, 0, 0, 1], abs=1e-5)


@pytest.mark.skipif(head_file() is None, reason="LPIPS needs the extra bench")
class TestLPIPS:
    @pytest.fixture
    def expected(self, put):
        """Function: LPIPS of two pictures in double precision, layer by layer, with the same weights."""
        torch.manual_seed(0)
        state = {key: 2 * value for key, value in lpips_network.AlexNetFeatures().state_dict().items()}
        torch.save(state, put("lpips-alexnet", "alexnet-owt-7be5be79.pth"))
        heads = torch.load(head_file(), map_location="cpu", weights_only=True)

        def features(image):
            x = torch.from_numpy(image).permute(2, 0, 1)[None].double() / 255
            for channel, (mean, deviation) in enumerate(((0.485, 0.229), (0.456, 0.224), (0.406, 0.225))):
                x[:, channel] = (x[:, channel] - mean) / deviation
            for number, (layer, stride, padding) in enumerate(((0, 4, 2), (3, 1, 2), (6, 1, 1), (8, 1, 1), (10, 1, 1))):
                weight, bias = (state[f"features.{layer}.{part}"].double() for part in ("weight", "bias"))
                x = functional.conv2d(x, weight, bias, stride, padding).clamp(min=0)
                yield x / x.square().sum(1, keepdim=True).sqrt(), heads[f"lin{number}.model.1.weight"].double()
                if number < 2:
                    x = functional.max_pool2d(x, 3, 2)

        def distance(a, b):
            pairs = zip(features(a), features(b), strict=True)
            return float(sum(functional.conv2d((x - y) ** 2, head).mean() for (x, head), (y, _) in pairs))

        return distance

    def test_is_the_papers_sum_over_five_layers(self, expected):
        a, b = picture(90, 130), picture(90, 130, 1)
        metric = METRICS["lpips"].create(Reference(None, None))
        metric.update(Sample(0, a, b))
        assert metric.value() == pytest.approx(expected(a, b), rel=1e-4)

    def test_tlp_is_in_hundredths_of_neighbours_alone(self, expected):
        ours, theirs = ([picture(90, 130, seed + t) for t in range(4)] for seed in (0, 10))
        metric = METRICS["tlp"].create(Reference(None, None))
        for index, output, truth in zip((0, 1, 2, 5), ours, theirs, strict=True):
            metric.update(Sample(index, output, truth))
        gaps = [expected(ours[t], ours[t + 1]) - expected(theirs[t], theirs[t + 1]) for t in (0, 1)]
        assert metric.value() == pytest.approx(50 * (abs(gaps[0]) + abs(gaps[1])), rel=1e-2)


class TestLandmarkDistances:
    @pytest.mark.parametrize(("height", "width", "akd", "lmd"), [(200, 100, 6.4, 36.0555), (100, 400, 3.2, 40.6971)])
    def test_are_measured_against_the_pictures_own_sides(self, height, width, akd, lmd):
        truth = mesh(20, 20, 80, 80)
        moved = truth + np.array([3, 4, 50], np.float32)  # 5 px in the picture; depth does not count
        for name, value in (("akd", akd), ("lmd", lmd)):
            metric = METRICS[name].create(Reference(None, None))
            image = np.zeros((height, width, 3), np.uint8)
            metric.update(Sample(0, image, image, output_landmarks=moved, truth_landmarks=truth))
            assert metric.value() == pytest.approx(value, rel=1e-4)
