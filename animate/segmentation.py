"""Where the person is: MediaPipe's selfie segmentation, refined at the picture's own edges.

The network (selfie segmentation, general model, inside MediaPipe's wheel up to 0.10.21) sees 256 x 256
pixels, so its border is soft and as wide as a hundredth of the picture. A guided filter (He, Sun, Tang,
"Guided Image Filtering", TPAMI 2013) with the picture as its guide moves that border onto hair and shoulders.
"""

from __future__ import annotations

import importlib.util
import os
from pathlib import Path
from typing import Self

import cv2
import numpy as np

from .errors import FaceError, WeightsError
from .faces_crop import shrink
from .faces_tracking import plain_rgb
from .native_log import quiet_native_log

__all__ = ["MODEL_URL", "PersonSegmenter"]

MODEL_URL = (
    "https://storage.googleapis.com/mediapipe-models/image_segmenter/selfie_segmenter/float16/latest/"
    "selfie_segmenter.tflite"
)
_CACHED = Path("~/.cache/mien/selfie_segmenter.tflite")
_NETWORK_SIDE = 256  # input of the network, pixels
_GUIDE_SIDE = 2048  # hair is no finer than this in a picture; larger ones get the mask of this size, enlarged
# Of the guided filter: window as a share of the longer side; contrast in grey levels that counts as an edge,
# squared (OpenCV's filter wants its guide in grey levels: with one in [0, 1] the same ratio only blurs).
_RADIUS = 0.012
_EPSILON = 2.5**2
# A second look is worth it where the head is small: its crop, in face sizes, and the share of the picture
# below which.
_CROP = 4.0
_SMALL = 0.22


class PersonSegmenter:
    """Person masks of pictures of any size; it holds native resources: use `with`, or call `close`.

    model_path: a selfie segmenter for MediaPipe's Tasks API; by default $MIEN_SELFIE_SEGMENTER, the wheel's
    own, or ~/.cache/mien/selfie_segmenter.tflite. Raises WeightsError where there is none or it is damaged.
    """

    def __init__(self, model_path: str | Path | None = None) -> None:
        model = _find_model(model_path)
        with quiet_native_log():
            import mediapipe
            from mediapipe.tasks.python import BaseOptions, vision

            self._mediapipe = mediapipe
            try:
                self._network = vision.ImageSegmenter.create_from_options(
                    vision.ImageSegmenterOptions(
                        base_options=BaseOptions(model_asset_path=str(model)), output_confidence_masks=True
                    )
                )
                self._run(np.zeros((64, 64, 3), np.uint8))
            except (RuntimeError, ValueError) as error:
                raise WeightsError(
                    f"The person model {model} cannot be used: get it again from {MODEL_URL}."
                ) from error

    def mask(self, image: np.ndarray, box: np.ndarray | None = None) -> np.ndarray:
        """Probability that a pixel belongs to a person.

        image: (H, W, 3|4) uint8 RGB. box: (4,) a face's [x0, y0, x1, y1]; a small face gets a second look at
        a crop round it. Returns (H, W) float32 in [0, 1].
        """
        image = plain_rgb(image)
        guide, factor = shrink(image, _GUIDE_SIDE)
        mask = self._coarse(guide)
        if box is not None:
            self._look_closer(guide, mask, np.asarray(box, dtype=np.float64) / factor)
        mask = _follow_edges(guide, mask)
        if factor > 1:
            mask = cv2.resize(mask, image.shape[1::-1], interpolation=cv2.INTER_LINEAR)
        return mask.clip(0, 1)

    def _coarse(self, image: np.ndarray) -> np.ndarray:
        """The network's own mask (H, W) float32, soft edges and all."""
        small = cv2.resize(image, (_NETWORK_SIDE, _NETWORK_SIDE), interpolation=cv2.INTER_AREA)
        return cv2.resize(self._run(small), image.shape[1::-1], interpolation=cv2.INTER_LINEAR)

    def _run(self, image: np.ndarray) -> np.ndarray:
        """(H, W) float32 person probability at the size of the image given."""
        if self._network is None:
            raise FaceError("This segmenter has been closed: make a new one.")
        data = np.ascontiguousarray(image)
        picture = self._mediapipe.Image(image_format=self._mediapipe.ImageFormat.SRGB, data=data)
        # The view dies with the result.
        return self._network.segment(picture).confidence_masks[-1].numpy_view().squeeze().copy()

    def _look_closer(self, image: np.ndarray, mask: np.ndarray, box: np.ndarray) -> None:
        """Replace the mask round a small face, in place, by a crop's, whose rim fades into the whole."""
        size = float((box[2:] - box[:2]).max())
        if size > _SMALL * max(image.shape[:2]):
            return
        # More below the face than above: hair takes less room than shoulders.
        x, y = (box[:2] + box[2:]) / 2 + (0, 0.4 * size)
        height, width = image.shape[:2]
        x0, x1 = max(int(x - _CROP * size / 2), 0), min(int(x + _CROP * size / 2) + 1, width)
        y0, y1 = max(int(y - _CROP * size / 2), 0), min(int(y + _CROP * size / 2) + 1, height)
        if min(x1 - x0, y1 - y0) < 16:
            return
        found = self._coarse(np.ascontiguousarray(image[y0:y1, x0:x1]))
        rim = max(int(0.4 * size), 1)
        weight = np.outer(_ramp(y0, y1, height, rim), _ramp(x0, x1, width, rim)).astype(np.float32)
        weight *= _near_person(found, box - (x0, y0, x0, y0), reach=max(int(0.15 * size), 1))
        mask[y0:y1, x0:x1] += (found - mask[y0:y1, x0:x1]) * weight

    def close(self) -> None:
        if self._network is not None:
            self._network.close()
            self._network = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()


def _find_model(model_path: str | Path | None) -> Path:
    """The argument, else $MIEN_SELFIE_SEGMENTER, else the wheel's own, else ~/.cache/mien."""
    chosen = model_path or os.environ.get("MIEN_SELFIE_SEGMENTER")
    if not chosen:
        spec = importlib.util.find_spec("mediapipe")
        inside = "modules/selfie_segmentation/selfie_segmentation.tflite"
        wheel = Path(spec.origin).parent / inside if spec and spec.origin else None
        chosen = wheel if wheel and wheel.is_file() else _CACHED
    path = Path(chosen).expanduser()
    if not path.is_file():
        raise WeightsError(
            f"The person model {path} is missing: download it from {MODEL_URL} and save it as {_CACHED}, "
            "or name its place in MIEN_SELFIE_SEGMENTER."
        )
    return path


def _near_person(mask: np.ndarray, box: np.ndarray, reach: int) -> np.ndarray:
    """(H, W) float32, 1 on the mask's blob that holds most of the box and `reach` pixels round it, else 0."""
    _, blobs = cv2.connectedComponents((mask > 0.5).astype(np.uint8))
    x0, y0, x1, y1 = np.maximum(box, 0).astype(int)
    inside = blobs[y0 : y1 + 1, x0 : x1 + 1]
    inside = inside[inside > 0]
    if not inside.size:
        return np.zeros(mask.shape, np.float32)
    person = (blobs == np.bincount(inside).argmax()).astype(np.float32)
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * reach + 1, 2 * reach + 1))
    return cv2.blur(cv2.dilate(person, kernel), (reach, reach))


def _ramp(start: int, stop: int, length: int, rim: int) -> np.ndarray:
    """(stop - start,) weights from 0 to 1 over `rim` pixels at either end, but 1 where the picture ends."""
    position = np.arange(stop - start)
    low = np.ones(stop - start) if start == 0 else position / rim
    high = np.ones(stop - start) if stop == length else position[::-1] / rim
    return np.minimum(low, high).clip(0, 1)


def _follow_edges(guide: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Guided filter: within each window the mask becomes a linear function of the picture's colour."""
    longest = max(guide.shape[:2])
    radius = max(int(_RADIUS * longest), 2)
    refined = cv2.ximgproc.guidedFilter(guide.astype(np.float32), mask, radius, _EPSILON)
    # Only the border is in doubt; inside and outside, texture must not dent the mask.
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * radius + 1, 2 * radius + 1))
    doubt = cv2.dilate(mask, kernel) - cv2.erode(mask, kernel)
    weight = cv2.blur(((doubt - 0.1) / 0.4).clip(0, 1), (radius, radius))
    return mask + (refined - mask) * weight
