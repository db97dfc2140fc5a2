"""MediaPipe's Tasks API as a back end: for mediapipe without models in its wheel, and blendshapes.

It needs one file, `face_landmarker.task` (MediaPipe's "Face landmarker v2 with blendshapes", Apache-2.0). Its
detector is the short-range one, so faces in the depth of a picture are found on tiles, by the landmarker
itself.
"""

from __future__ import annotations

import functools
import os
import threading
from pathlib import Path

import numpy as np

from .errors import FaceError, WeightsError
from .faces_crop import Roi, crop_roi, picture_tiles, suppress
from .faces_tracking import Candidate, MeshTracker, Sighting, plain_rgb
from .native_log import quiet_native_log
from .topology import mirror_landmarks

__all__ = ["BLENDSHAPE_COUNT", "MODEL_URL", "TasksTracker", "detect_blendshapes", "find_model"]

BLENDSHAPE_COUNT = 52
MODEL_URL = (
    "https://storage.googleapis.com/mediapipe-models/face_landmarker/face_landmarker/float16/1/face_landmarker.task"
)
_CACHED = Path("~/.cache/mien/face_landmarker.task")
_CROP_SIZE = 320
# The landmarker looks for the face once more in the crop, and its detector wants some air round it.
_AIR = 1.5


def find_model(model_path: str | Path | None = None) -> Path:
    """The face_landmarker.task to use: the argument, else $MIEN_FACE_LANDMARKER, else ~/.cache/mien.

    Raises WeightsError, saying where to get it and where to put it, when the file is not there.
    """
    chosen = model_path or os.environ.get("MIEN_FACE_LANDMARKER")
    path = Path(chosen if chosen else _CACHED).expanduser()
    if not path.is_file():
        raise WeightsError(
            f"The face model {path} is missing: download it from {MODEL_URL} and save it as {_CACHED}, "
            "or name its place in MIEN_FACE_LANDMARKER."
        )
    return path


class TasksTracker(MeshTracker):
    """`FaceTracker` on FaceLandmarker: two looks at a face, one mirrored; 25 ms a face on one core. Threads may share
    it."""

    def __init__(self, model_path: str | Path | None = None, max_faces: int = 8) -> None:
        self._lock = threading.Lock()
        path = find_model(model_path)
        with quiet_native_log():
            import mediapipe
            from mediapipe.tasks.python import BaseOptions, vision

            self._mediapipe = mediapipe
            try:
                self._landmarker = vision.FaceLandmarker.create_from_options(
                    vision.FaceLandmarkerOptions(
                        base_options=BaseOptions(model_asset_path=str(path)),
                        running_mode=vision.RunningMode.IMAGE,
                        num_faces=max_faces,
                        min_face_detection_confidence=0.4,
                        output_face_blendshapes=True,
                    )
                )
            except (RuntimeError, ValueError) as error:
                raise WeightsError(
                    f"The face model {path} cannot be used: download it again from {MODEL_URL}."
                ) from error
            self._run(np.zeros((64, 64, 3), np.uint8))

    def _run(self, image: np.ndarray):  # -> FaceLandmarkerResult, a type that only mediapipe knows
        data = np.ascontiguousarray(image)
        picture = self._mediapipe.Image(image_format=self._mediapipe.ImageFormat.SRGB, data=data)
        with self._lock:
            if self._landmarker is None:
                raise FaceError("This face tracker has been closed: make a new one.")
            return self._landmarker.detect(picture)

    def _meshes(self, image: np.ndarray) -> list[np.ndarray]:
        """(478, 3) float64 meshes in the pixels of this picture."""
        height, width = image.shape[:2]
        scale = (width, height, width)
        # Corner-based to centre-based pixels; what is left agrees with the offline mesh within a third pixel.
        return [
            np.array([(p.x, p.y, p.z) for p in face]) * scale - (0.5, 0.5, 0)
            for face in self._run(image).face_landmarks
        ]

    def candidates(self, image: np.ndarray, thorough: bool = True) -> list[Candidate]:
        found: list[Candidate] = []
        for scale in (0, 1, 2, 3) if thorough else (1,):
            for tile, x, y, factor in picture_tiles(image, scale):
                for mesh in self._meshes(tile):
                    roi = Roi.from_landmarks(mesh * factor + (x, y, 0))
                    # The Tasks API tells no score: rank what the coarser scale saw first.
                    found.append(Candidate(roi, 0.9 - 0.1 * scale))
        kept = suppress(np.array([c.box for c in found]), np.array([c.score for c in found]), 0.5)
        return [found[i] for i in kept]

    def mesh(self, image: np.ndarray, roi: Roi) -> Sighting | None:
        if not 8 <= roi.side < 1e5:
            return None
        square = Roi(roi.x, roi.y, roi.side * _AIR, roi.angle)
        crop = crop_roi(image, square, _CROP_SIZE)
        matrix = square.to_picture(_CROP_SIZE)
        looks = []
        for mirror in (False, True):
            meshes = self._meshes(crop[:, ::-1] if mirror else crop)
            if not meshes:
                return None
            mesh = min(meshes, key=lambda mesh: np.linalg.norm(mesh[:, :2].mean(0) - _CROP_SIZE / 2))
            mesh = mirror_landmarks(mesh, _CROP_SIZE) if mirror else mesh
            plane = mesh[:, :2] @ matrix[:, :2].T + matrix[:, 2]
            looks.append(np.concatenate([plane, mesh[:, 2:] * square.side / _CROP_SIZE], axis=1))
        mean = np.mean(looks, axis=0)
        spread = np.linalg.norm((looks[0] - mean)[:, :2], axis=1).mean() / roi.side
        return Sighting(mean.astype(np.float32), float(spread))

    def blendshapes(self, image: np.ndarray) -> tuple[np.ndarray, dict[str, float]] | None:
        """Landmarks (478, 3) float32 pixels and 52 ARKit-type scores in [0, 1] of the largest face, or None.

        image: (H, W, 3|4) uint8 RGB. The first name is MediaPipe's "_neutral", which ARKit does not have.
        """
        result = self._run(plain_rgb(image))
        if not result.face_landmarks:
            return None
        height, width = image.shape[:2]
        meshes = [np.array([(p.x * width, p.y * height, p.z * width) for p in face]) for face in result.face_landmarks]
        largest = max(range(len(meshes)), key=lambda i: np.prod(np.ptp(meshes[i][:, :2], axis=0)))
        scores = {c.category_name: float(c.score) for c in result.face_blendshapes[largest]}
        return (meshes[largest] - (0.5, 0.5, 0)).astype(np.float32), scores

    def close(self) -> None:
        with self._lock:
            if self._landmarker is not None:
                self._landmarker.close()
                self._landmarker = None


@functools.lru_cache(maxsize=1)
def _shared_tracker(path: Path) -> TasksTracker:
    return TasksTracker(path)


def detect_blendshapes(image: np.ndarray, model_path: str | Path | None = None) -> tuple[np.ndarray, dict[str, float]]:
    """Landmarks (478, 3) float32 px and 52 blendshape scores in [0, 1] by name of the largest face.

    image: (H, W, 3|4) uint8 RGB. The model stays loaded between calls. Raises FaceError where there is no
    face and WeightsError where the model file is missing.
    """
    found = _shared_tracker(find_model(model_path)).blendshapes(image)
    if found is None:
        raise FaceError("No face was found to read blendshapes from: use a picture that shows one clearly.")
    return found
