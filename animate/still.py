"""One portrait kept ready to be drawn again and again: what a slider or a camera needs instead of a clip."""

from __future__ import annotations

import threading
from pathlib import Path

import cv2
import numpy as np

from animate.animator import PortraitAnimator
from animate.errors import OptionError
from animate.motion import Motion
from animate.portrait import Portrait
from animate.prior import InteriorPrior
from animate.retarget import Retargeter
from animate.warp import PortraitWarp


class Still:
    """A portrait with everything that its frames share, made once.

    Args:
        portrait: its face number `face` moves.
        animator: of the mini type, whose network paints regions of a warped picture.

    Raises:
        OptionError: another kind of model.
    """

    def __init__(self, portrait: Portrait, animator: PortraitAnimator, face: int = 0):
        if not animator.paints_regions:
            raise OptionError("Single pictures are drawn with mini or a model of its kind: choose one of those.")
        self.portrait, self.animator = portrait, animator
        self.landmarks = portrait.faces[face].landmarks
        image = portrait.image
        others = [other.landmarks for number, other in enumerate(portrait.faces) if number != face]
        colour = np.ascontiguousarray(image[..., :3])
        self._warp = PortraitWarp(colour, self.landmarks, animator._person(image, self.landmarks), others)
        self._prior = InteriorPrior(self._warp)
        self._painting = None
        if animator.painter is not None:
            self._painting = animator.painter.start(self._warp, side_by_side=True)
        self._warp.render(self._warp.field(self.landmarks))
        self._lock = threading.Lock()

    def draw(self, motion: Motion, paint: bool = True, mode: str = "relative") -> np.ndarray:
        """The first frame of a motion: (H, W, 3|4) uint8 at the portrait's size.

        paint: False leaves the network out: warp and prior alone, at once.
        """
        target = Retargeter(self.landmarks, motion, mode)(slice(0, 1))[0]
        painting = self._painting if paint else None
        with self._lock:  # a second picture meanwhile would only make both late
            return self.animator._draw(self.portrait.image, [target], self._warp, self._prior, painting)[0]


def shrunk(portrait: Portrait, longest: int) -> Portrait:
    """The portrait with its longer side at most `longest` px, faces included; itself where it is no larger."""
    height, width = portrait.image.shape[:2]
    if max(height, width) <= longest:
        return portrait
    factor = longest / max(height, width)
    size = max(1, round(width * factor)), max(1, round(height * factor))
    image = cv2.resize(portrait.image, size, interpolation=cv2.INTER_AREA)
    faces = [type(face)(face.box * factor, face.landmarks * factor, face.score) for face in portrait.faces]
    return Portrait(image, faces, Path(portrait.name).name)
