"""Every weight that Mien can use: where it comes from, under which licence, where it lies on this machine.

A new checkpoint is one entry. Nothing here downloads or loads anything.
"""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass
from pathlib import Path

from .errors import WeightsError

EMBEDDED = Path(__file__).parent / "embedded"


@dataclass(frozen=True)
class WeightRecord:
    """One set of weights.

    files: names relative to `folder`. package: the Python package that brings the files, None when they lie
    in `folder` as it stands. extra: the optional dependency (`pip install 'mien[extra]'`) that is needed.
    origin: "trained here", "inside PACKAGE" or "download".
    """

    name: str
    purpose: str
    files: tuple[str, ...]
    licence: str
    source: str
    origin: str
    folder: str | Path = EMBEDDED
    package: str | None = None
    extra: str | None = None
    commercial_use: bool = True

    @property
    def path(self) -> Path | None:
        """The folder of the files on this machine; None when their package is not installed."""
        if self.package is None:
            return Path(self.folder).expanduser()
        spec = importlib.util.find_spec(self.package)
        if spec is None or not spec.submodule_search_locations:
            return None
        return Path(next(iter(spec.submodule_search_locations))) / self.folder

    @property
    def missing(self) -> tuple[str, ...]:
        """The files that are not on this machine."""
        folder = self.path
        return self.files if folder is None else tuple(f for f in self.files if not (folder / f).is_file())

    @property
    def available(self) -> bool:
        return not self.missing


RECORDS = (
    WeightRecord(
        name="mini",
        purpose="the embedded diffusion model that draws the frames",
        files=("mini/model_index.json", "mini/README.md"),
        licence="Apache-2.0",
        source="trained by animate.train; the model card lists the training data and its licences",
        origin="trained here",
    ),
    WeightRecord(
        name="prior",
        purpose="textures of the mouth's inside for animate.prior",
        files=("mouth_table.safetensors",),
        licence="Apache-2.0",
        source="medians over the training clips, built by animate.prior",
        origin="trained here",
    ),
    WeightRecord(
        name="talk",
        purpose="speech to the movements of the lower face (mien talk, mien dub)",
        files=(
            "talk/config.json",
            "talk/diffusion_pytorch_model.safetensors",
            "talk/basis.safetensors",
            "talk/visemes.safetensors",
            "talk/README.md",
        ),
        licence="Apache-2.0",
        source="trained by talking_face.train; the model card lists the training data and its licences",
        origin="trained here",
    ),
    WeightRecord(
        name="canonical-face",
        purpose="the mean face that poses are measured against",
        files=("canonical_face.safetensors",),
        licence="Apache-2.0",
        source="Procrustes mean over CC0 portraits, built by animate.pose",
        origin="trained here",
    ),
    WeightRecord(
        name="face-mesh",
        purpose="the triangles of the 478-point mesh",
        files=("face_mesh.safetensors",),
        licence="Apache-2.0",
        source="Google MediaPipe's face mesh topology",
        origin="trained here",
    ),
    WeightRecord(
        name="arkit-basis",
        purpose="the linear map between ARKit's 52 curves and landmark offsets",
        files=("arkit_basis.safetensors",),
        licence="Apache-2.0",
        source="least squares over the training clips, built by animate.arkit",
        origin="trained here",
    ),
    WeightRecord(
        name="mediapipe",
        purpose="face detection, face mesh with irises, person mask (offline)",
        files=(
            "face_detection/face_detection_short_range.tflite",
            "face_detection/face_detection_full_range_sparse.tflite",
            "face_landmark/face_landmark_with_attention.tflite",
            "selfie_segmentation/selfie_segmentation.tflite",
        ),
        licence="Apache-2.0",
        source="Google MediaPipe 0.10.21, the last wheel that carries its models",
        origin="inside mediapipe",
        package="mediapipe",
        folder="modules",
    ),
    WeightRecord(
        name="face-landmarker",
        purpose="face mesh for mediapipe 0.10.30 and newer (Tasks API)",
        files=("face_landmarker.task",),
        licence="Apache-2.0",
        source="Google MediaPipe model page, Face Landmarker",
        origin="download",
        folder="~/.cache/mien",
    ),
    WeightRecord(
        name="dlib-recognition",
        purpose="the identity column of the benchmark",
        files=("dlib_face_recognition_resnet_model_v1.dat", "shape_predictor_5_face_landmarks.dat"),
        licence="CC0-1.0",
        source="dlib's model collection, in the package face-recognition-models",
        origin="inside face-recognition-models",
        package="face_recognition_models",
        folder="models",
        extra="bench",
    ),
    WeightRecord(
        name="insightface-buffalo_l",
        purpose="optional face detector and recognition (choosing a face by a reference picture)",
        files=("det_10g.onnx", "w600k_r50.onnx"),
        licence="non-commercial research only",
        source="InsightFace model zoo, buffalo_l",
        origin="download",
        folder="~/.insightface/models/buffalo_l",
        extra="faces",
        commercial_use=False,
    ),
    WeightRecord(
        name="face-alignment",
        purpose="optional face detector and 68 landmarks",
        files=("2DFAN4-cd938726ad.zip", "s3fd-619a316812.pth"),
        licence="BSD-3-Clause (code); trained on data sets for research use",
        source="face-alignment's release files",
        origin="download",
        folder="~/.cache/torch/hub/checkpoints",
        extra="faces",
        commercial_use=False,
    ),
    WeightRecord(
        name="follow-your-emoji",
        purpose="the large model, 512 px, for a GPU",
        files=("unet.pth", "referencenet.pth", "lmk_guider.pth"),
        licence="not stated by its authors (all rights reserved)",
        source="Ma et al., Follow-Your-Emoji, SIGGRAPH Asia 2024",
        origin="download",
        folder="~/.cache/mien/follow-your-emoji",
        commercial_use=False,
    ),
)


def get(name: str) -> WeightRecord:
    """The record of that name.

    Raises WeightsError that lists the known names.
    """
    for record in RECORDS:
        if record.name == name:
            return record
    known = ", ".join(record.name for record in RECORDS)
    raise WeightsError(f"Mien knows no weights named {name!r}: it knows {known}.")
