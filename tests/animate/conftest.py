"""Motion and landmarks that the tests of this folder share."""

import sys

import numpy as np
import pytest

from animate import pose
from animate import topology as mesh
from animate.motion import Motion


@pytest.fixture(scope="session")
def talk() -> Motion:
    """A real speaker, 3 s at 25 frames per second, that Mien ships."""
    return Motion.builtin("talk")


@pytest.fixture(scope="session")
def astronaut_landmarks(astronaut) -> np.ndarray:
    """(478, 3) px of a real portrait: a woman who smiles with her teeth showing."""
    from animate.faces import create_tracker

    return create_tracker().detect(astronaut)[0].landmarks


@pytest.fixture(scope="session")
def speaker(shared):
    """A real FaceTrack with a blink and speech, 75 frames."""
    from animate.faces import create_tracker
    from animate.media import VideoReader

    with VideoReader(shared / "data/examples/video/LipNet__samples_GRID_bbaf2n.mpg") as reader:
        return create_tracker().track(reader, reader.fps, max_faces=1)[0]


@pytest.fixture(scope="session")
def make_face():
    """A maker of canonical faces (478, 3): lips closed but for `gap`, parts scaled against the mean
    face's."""

    def make(mouth: float = 1.0, eye: float = 1.0, jaw: float = 1.0, gap: float = 0.0) -> np.ndarray:
        from animate.closure import close_lips
        from animate.retarget import region_weights

        mean = np.array(pose.canonical_face(), np.float64)
        closed = close_lips(mean[None].copy(), np.zeros((1, 478, 3)), mean, mean)[0]
        face, weights = closed.copy(), region_weights()
        face[:, 0] *= 1 + (mouth - 1) * weights["lips"]
        face[:, 1] += (jaw - 1) * weights["jaw"] * (closed[:, 1] - closed[mesh.NOSE_BASE, 1])
        face[:, 1] += (eye - 1) * weights["eyes"] * (closed[:, 1] - closed[[33, 133], 1].mean())
        face[list(mesh.LOWER_LIP), 1] += gap
        return face

    return make


@pytest.fixture
def other_face(make_face) -> np.ndarray:
    """(478, 3) px of a made-up person: narrow mouth, big eyes, long chin, head turned and tilted."""
    turned = pose.Pose(np.array([[0.1, -0.3, 0.12]]), np.array([[250.0, 240.0, 3.0]]), np.array([110.0]))
    return pose.compose(make_face(mouth=0.75, eye=1.35, jaw=1.2)[None], turned)[0]


@pytest.fixture(autouse=True)
def attention_back_end():
    """diffusers makes the back end of one model the default of all: every test leaves the default as it was."""
    module = sys.modules.get("diffusers.models.attention_dispatch")
    before = module._AttentionBackendRegistry.get_active_backend()[0] if module is not None else None
    yield
    module = sys.modules.get("diffusers.models.attention_dispatch")
    if module is not None:
        default = module.AttentionBackendName(module.DIFFUSERS_ATTN_BACKEND) if before is None else before
        module._AttentionBackendRegistry.set_active_backend(default)


@pytest.fixture(scope="session")
def tiny(tmp_path_factory):
    """A saved pipeline with random weights, so that the network really changes pixels."""
    import torch

    from animate.models.codec import SpaceToDepthCodec
    from animate.pipelines.landmark import LandmarkAnimationPipeline
    from animate.pipelines.scheduler import mini_scheduler
    from animate.recipe import TrainConfig, build_networks

    torch.manual_seed(0)
    networks = build_networks(TrainConfig(channels=(16, 16, 16)))
    torch.nn.init.normal_(networks["unet"].conv_out.weight, std=0.05)
    folder = tmp_path_factory.mktemp("tiny")
    pipeline = LandmarkAnimationPipeline(
        vae=SpaceToDepthCodec(4),
        scheduler=mini_scheduler(),
        default_num_inference_steps=2,
        default_guidance_scale=1.0,
        **dict(networks.items()),
    )
    pipeline.save_pretrained(folder)
    return folder
