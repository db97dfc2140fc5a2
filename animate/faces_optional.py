"""Back ends that need the extra `faces`: other libraries find the faces, MediaPipe's mesh is put on them.

* insightface: SCRFD detection and ArcFace embeddings (Deng et al., "ArcFace", CVPR 2019), by which a
  reference picture chooses a face. The library is MIT; its pretrained weights ("buffalo_l") are for
  NON-COMMERCIAL research only and are never shipped here.
* face-alignment: Bulat & Tzimiropoulos, ICCV 2017; BSD-3. Only its detector (S3FD) is used: 68 points are no
  mesh.

Neither downloads anything here: weights that are missing are named in one sentence.
"""

from __future__ import annotations

import math
import os
from pathlib import Path

import numpy as np

from .errors import OptionError, WeightsError
from .faces_crop import Roi, shrink
from .faces_mediapipe import AttentionMesh
from .faces_tracking import Candidate, MeshTracker, Sighting

__all__ = ["FaceAlignmentTracker", "InsightFaceTracker"]


class _BorrowedMesh(MeshTracker):
    """A tracker whose detector is somebody else's and whose mesh is MediaPipe's."""

    def __init__(self) -> None:
        self._mesh = AttentionMesh()

    def mesh(self, image: np.ndarray, roi: Roi) -> Sighting | None:
        return self._mesh(image, roi)

    def close(self) -> None:
        self._mesh.close()


class InsightFaceTracker(_BorrowedMesh):
    """SCRFD + ArcFace of an insightface model pack (non-commercial weights); faces carry `embedding` (512,).

    folder: the pack's folder of .onnx files, by default ~/.insightface/models/buffalo_l. Raises OptionError
    where insightface or onnxruntime is not installed, WeightsError where the pack is missing.
    """

    def __init__(self, folder: str | Path | None = None) -> None:
        folder = Path(folder or "~/.insightface/models/buffalo_l").expanduser()
        try:
            from insightface.model_zoo import get_model
        except ImportError as error:
            raise OptionError(
                "The face tracker 'insightface' is not installed: pip install 'mien[faces]' "
                "(its weights are for non-commercial use only)."
            ) from error
        files = [folder / "det_10g.onnx", folder / "w600k_r50.onnx"]
        missing = [file for file in files if not file.is_file()]
        if missing:
            raise WeightsError(
                f"The insightface weights {missing[0]} are missing: download the pack buffalo_l (for "
                "non-commercial use only) from https://github.com/deepinsight/insightface/releases and "
                f"unpack it into {folder}."
            )
        self._detector, self._recogniser = (get_model(str(file), providers=["CPUExecutionProvider"]) for file in files)
        self._detector.prepare(ctx_id=-1, input_size=(640, 640), det_thresh=0.5)
        self._recogniser.prepare(ctx_id=-1)
        super().__init__()

    def candidates(self, image: np.ndarray, thorough: bool = True) -> list[Candidate]:
        from insightface.app.common import Face as Found

        blue_first = np.ascontiguousarray(image[..., ::-1])  # the networks were trained on OpenCV's channel order
        boxes, points = self._detector.detect(blue_first)
        found = []
        for box, five in zip(boxes, points, strict=True):
            person = Found(bbox=box[:4], kps=five, det_score=box[4])
            # Embeddings serve the choice among a picture's faces; inside a clip position tells people apart.
            embedding = self._recogniser.get(blue_first, person) if thorough else None
            if embedding is not None:
                embedding = embedding / np.linalg.norm(embedding)
            across = five[1] - five[0]
            roi = _roi_from_box(box[:4], math.atan2(across[1], across[0]))
            found.append(Candidate(roi, float(box[4]), embedding))
        return found


class FaceAlignmentTracker(_BorrowedMesh):
    """face-alignment's S3FD detector. Raises OptionError where face-alignment is not installed."""

    def __init__(self) -> None:
        try:
            from face_alignment.detection.sfd import FaceDetector
        except ImportError as error:
            raise OptionError(
                "The face tracker 'face-alignment' is not installed: pip install 'mien[faces]'."
            ) from error
        from torch.hub import get_dir

        folder = Path(os.path.join(get_dir(), "checkpoints"))
        if not any(folder.glob("s3fd-*.pth")):
            raise WeightsError(
                "The face-alignment weights are missing: download "
                "https://www.adrianbulat.com/downloads/python-fan/s3fd-619a316812.pth and save it in "
                f"{folder}."
            )
        self._detector = FaceDetector(device="cpu")
        super().__init__()

    def candidates(self, image: np.ndarray, thorough: bool = True) -> list[Candidate]:
        small, factor = shrink(image, 640)
        return [
            Candidate(_roi_from_box(np.asarray(box[:4]) * factor, 0.0), float(box[4]))
            for box in self._detector.detect_from_image(np.ascontiguousarray(small))
        ]


def _roi_from_box(box: np.ndarray, angle: float) -> Roi:
    """The square for the mesh round a detector's box [x0, y0, x1, y1] in pixels."""
    x, y = (box[:2] + box[2:]) / 2
    return Roi(float(x), float(y), float(max(box[2:] - box[:2]) * 1.3), angle)
