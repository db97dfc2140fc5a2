"""The offline back end: the networks inside MediaPipe's wheel (0.10.21 is the last that carries them).

Detection: BlazeFace, full range (faces to 5 m), on overlapping tiles at three scales; landmarks: the
attention mesh (Grishchenko et al., "Attention Mesh: High-fidelity Face Mesh Prediction in Real-time", 2020),
the network behind FaceMesh(refine_landmarks=True). It is run as MediaPipe's own subgraph `FaceLandmarkCpu` on
crops cut here: FaceMesh itself would run its short-range detector once more on each crop, take 3 times as
long and shrink large faces without a filter.
"""

from __future__ import annotations

import math
import threading
from pathlib import Path

import numpy as np

from .errors import FaceError
from .faces_crop import Roi, crop_roi, picture_tiles, suppress
from .faces_tracking import Candidate, MeshTracker, Sighting
from .native_log import quiet_native_log
from .topology import mirror_landmarks

__all__ = ["AttentionMesh", "MediaPipeTracker"]

_MESH_SIZE = 192  # input of the mesh network, pixels
# The network is run on four slightly different squares, two of them mirrored: right, down (shares of the
# side), zoom, turn (radians), mirror. On portraits moved by a known amount under sensor noise the mean has
# half the error of one run (0.71 for 1.33 % of the inter-ocular distance) and less than half its jitter (0.44
# for 1.02 %).
_LOOKS = (
    (0.05, 0.03, 1.04, 0.05, False),
    (-0.05, 0.03, 0.96, -0.05, True),
    (0.03, -0.05, 1.0, -0.05, True),
    (-0.03, -0.05, 1.0, 0.05, False),
)
_STRAIGHT_LOOK = (0.0, 0.0, 1.0, 0.0, False)
_SMALLEST_TILE = 8  # pixels; the detector's graph breaks for good on a picture of one pixel
_CLOSED = "This face tracker has been closed: make a new one."
_MESH_GRAPH = """
input_stream: "image"
input_stream: "roi"
output_stream: "landmarks"
input_side_packet: "with_attention"
node {
  calculator: "FaceLandmarkCpu"
  input_stream: "IMAGE:image"
  input_stream: "ROI:roi"
  input_side_packet: "WITH_ATTENTION:with_attention"
  output_stream: "LANDMARKS:landmarks"
}
"""


class AttentionMesh:
    """MediaPipe's face mesh with irises on a square that the caller chooses; 2.5 ms a look on one core.

    Threads may share it, and one may close it while another looks: the graph takes one picture after the other.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()  # a graph that is closed while it runs crashes the process
        with quiet_native_log():
            import mediapipe
            import mediapipe.python as binding
            from google.protobuf import text_format
            from mediapipe.framework import calculator_pb2
            from mediapipe.framework.formats import rect_pb2

            binding._framework_bindings.resource_util.set_resource_dir(str(Path(mediapipe.__file__).parents[1]))
            self._binding = binding
            self._found: list = []
            self._graph = binding.CalculatorGraph(
                graph_config=text_format.Parse(_MESH_GRAPH, calculator_pb2.CalculatorGraphConfig())
            )
            self._graph.observe_output_stream("landmarks", lambda _, packet: self._found.append(packet))
            self._graph.start_run({"with_attention": binding.packet_creator.create_bool(True)})
            self._whole = binding.packet_creator.create_proto(
                rect_pb2.NormalizedRect(x_center=0.5, y_center=0.5, width=1, height=1, rotation=0)
            )
            self._time = 0
            self._run(np.zeros((_MESH_SIZE, _MESH_SIZE, 3), np.uint8))  # the first run logs and allocates

    def _run(self, crop: np.ndarray) -> np.ndarray | None:
        """(478, 3) landmarks of a (192, 192, 3) crop in units of its side, None where it shows no face."""
        with self._lock:
            if self._graph is None:
                raise FaceError(_CLOSED)
            self._time += 1
            self._found.clear()
            make, image_format = self._binding.packet_creator, self._binding.ImageFormat.SRGB
            stamp = self._binding.Timestamp(self._time)
            image = make.create_image_frame(image_format=image_format, data=crop)
            self._graph.add_packet_to_input_stream("image", image.at(stamp))
            self._graph.add_packet_to_input_stream("roi", self._whole.at(stamp))
            self._graph.wait_until_idle()
            if not self._found:
                return None
            packet = self._found[-1]
        points = self._binding.packet_getter.get_proto(packet).landmark
        return np.array([(p.x, p.y, p.z) for p in points], dtype=np.float64)

    def __call__(self, image: np.ndarray, roi: Roi, looks: int = 4) -> Sighting | None:
        """Mean of `looks` (1 to 4) looks at the face in `roi`, None where fewer than half see a face."""
        if not 8 <= roi.side < 1e5:
            return None
        chosen = _LOOKS[:looks] if looks > 1 else (_STRAIGHT_LOOK,)
        found = [self._look(image, roi, *look) for look in chosen]
        meshes = np.array([mesh for mesh in found if mesh is not None])
        if not len(meshes) or 2 * len(meshes) < len(found):
            return None
        mean = meshes.mean(0)
        spread = np.linalg.norm(meshes[..., :2] - mean[:, :2], axis=-1).mean() / roi.side
        return Sighting(mean.astype(np.float32), float(spread))

    def _look(
        self, image: np.ndarray, roi: Roi, x: float, y: float, zoom: float, turn: float, mirror: bool
    ) -> np.ndarray | None:
        """(478, 3) float64 picture pixels: one run of the network, on the square moved as _LOOKS says."""
        c, s = math.cos(roi.angle) * roi.side, math.sin(roi.angle) * roi.side
        square = Roi(roi.x + c * x - s * y, roi.y + s * x + c * y, roi.side * zoom, roi.angle + turn)
        crop = crop_roi(image, square, _MESH_SIZE)
        points = self._run(np.ascontiguousarray(crop[:, ::-1]) if mirror else crop)
        if points is None:
            return None
        # The network counts from the corner of its first pixel: mirrored portraits show 0.48 +- 0.06 px.
        points[:, :2] = points[:, :2] * _MESH_SIZE - 0.5
        if mirror:
            points = mirror_landmarks(points, _MESH_SIZE)
        matrix = square.to_picture(_MESH_SIZE)
        plane = points[:, :2] @ matrix[:, :2].T + matrix[:, 2]
        return np.concatenate([plane, points[:, 2:] * square.side], axis=1)

    def close(self) -> None:
        with self._lock:
            if self._graph is not None:
                self._graph.close_all_packet_sources()
                self._graph.wait_until_done()
                self._graph = None


class MediaPipeTracker(MeshTracker):
    """`FaceTracker` with nothing to download; threads may share it. See the module for sources."""

    def __init__(self) -> None:
        self._lock = threading.Lock()  # of the detector
        with quiet_native_log():
            from mediapipe.python.solutions.face_detection import FaceDetection

            self._detector = FaceDetection(model_selection=1, min_detection_confidence=0.4)
            self._detector.process(np.zeros((64, 64, 3), np.uint8))
        self._mesh = AttentionMesh()

    def candidates(self, image: np.ndarray, thorough: bool = True) -> list[Candidate]:
        found: list[Candidate] = []
        # The finest tiles are for faces of 40 pixels; a small picture has none that are worth it.
        finest = 4 if max(image.shape[:2]) > 2000 else 3
        for scale in range(finest + 1) if thorough else (1,):
            for tile, x, y, factor in picture_tiles(image, scale):
                found += self._on_tile(tile, x, y, factor)
        kept = suppress(np.array([c.box for c in found]), np.array([c.score for c in found]), 0.5)
        return [found[i] for i in kept]

    def _on_tile(self, tile: np.ndarray, x: float, y: float, factor: float) -> list[Candidate]:
        """Detections on one tile as squares in the picture's pixels."""
        if min(tile.shape[:2]) < _SMALLEST_TILE:
            return []
        with self._lock:
            if self._detector is None:
                raise FaceError(_CLOSED)
            detections = self._detector.process(tile).detections or []
        found = []
        height, width = tile.shape[:2]
        for detection in detections:
            location = detection.location_data
            box = location.relative_bounding_box
            right_eye, left_eye = location.relative_keypoints[:2]
            angle = math.atan2((left_eye.y - right_eye.y) * height, (left_eye.x - right_eye.x) * width)
            side = max(box.width * width, box.height * height) * 1.5
            centre_x, centre_y = (box.xmin + box.width / 2) * width, (box.ymin + box.height / 2) * height
            roi = Roi(x + centre_x * factor, y + centre_y * factor, side * factor, angle)
            found.append(Candidate(roi, float(detection.score[0])))
        return found

    def mesh(self, image: np.ndarray, roi: Roi) -> Sighting | None:
        return self._mesh(image, roi)

    def close(self) -> None:
        with self._lock:
            if self._detector is not None:
                self._detector.close()
                self._detector = None
        self._mesh.close()
