"""Several moving faces of one portrait: how their layers lie over one another, and who paints where.

Every chosen face is warped and filled by itself, on the picture as it was. What it changes is laid over the others: the
larger head is the nearer one and hides what moves behind it; a head hides the background that another one uncovers.
Faces that are not chosen stay as they are, bit for bit. The network then paints all windows of a frame on the joined
picture. Where a window also shows another face, both share one pass with masked cross-attention: each pixel attends to
the expression of its own face alone (as FantasyPortrait's masked cross-attention, arXiv 2507.12956, section 3.3).
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from itertools import combinations

import cv2
import numpy as np

from animate import topology
from animate.group_joined import kept_faces
from animate.painter import Job, Painting, paint_jobs
from animate.prior import InteriorPrior
from animate.regions import to_window
from animate.warp import PortraitWarp, WarpField

OVAL = list(topology.FACE_OVAL)
Box = tuple[int, int, int, int]
LABEL_FEATHER = 2.0  # pixels of a window over which the painting fades towards another face


class Sitter:
    """One moving face: its warp, what fills its openings, and its windows.

    Args:
        warp: knows the other faces' landmarks (`others`), so that their heads are background to it.
        prior: None for the bare warp.
        painting: None without a network.
    """

    def __init__(self, warp: PortraitWarp, prior: InteriorPrior | None, painting: Painting | None):
        self.warp, self.prior, self.painting = warp, prior, painting

    def draw(self, target: np.ndarray) -> tuple[WarpField, np.ndarray]:
        """The warp's field and the filled picture over its box."""
        field = self.warp.field(target)
        frame = self.warp.render(field)
        if self.prior is not None:
            self.prior.fill(frame, target, field.box[:2])
        return field, frame


class GroupScene:
    """All moving faces of a portrait.

    Args:
        image: (H, W, 3) uint8.
        sitters: one for each moving face.
        staying: (478, 3) px landmarks of the faces that stay.
    """

    def __init__(self, image: np.ndarray, sitters: Sequence[Sitter], staying: Sequence[np.ndarray] = ()):
        self.image, self.sitters = image, list(sitters)
        self.staying = [np.asarray(landmarks, np.float32) for landmarks in staying]
        # far to near
        self.order = sorted(range(len(self.sitters)), key=lambda index: self.sitters[index].warp.iod)

    def compose(self, fields: Sequence[WarpField], frames: Sequence[np.ndarray]) -> np.ndarray:
        """(H, W, 3) uint8: the sitters' pictures over their boxes, laid over one another.

        A pixel that one sitter changes gets that sitter's value exactly.
        """
        out = self.image.copy()
        boxes = [field.box for field in fields]
        for index in self.order:
            _view(out, boxes[index])[:] = frames[index]
        opacities: dict[int, np.ndarray] = {}
        for one, other in combinations(self.order, 2):
            if (both := _meet(boxes[one], boxes[other])) is not None:
                _view(out, both)[:] = self._lay(both, fields, frames, opacities)
        for box in self._kept_boxes:
            view, image = _view(out, box), _view(self.image, box)
            change = (view.astype(np.float32) - image) * (1 - _view(self.kept, box)[..., None])
            view[:] = np.rint(image + change).astype(np.uint8)
        return out

    def _lay(self, box: Box, fields: Sequence[WarpField], frames: Sequence[np.ndarray], opacities: dict) -> np.ndarray:
        """(h, w, 3) uint8 of a box that several sitters may change: the sum of what each of them changes where no
        other head hides it."""
        total = _view(self.image, box).astype(np.float32)
        for place, index in enumerate(self.order):
            own = _meet(fields[index].box, box)
            if own is None:
                continue
            change = _part(frames[index], fields[index].box, own).astype(np.float32) - _view(self.image, own)
            for other_place, other in enumerate(self.order):
                both = _meet(fields[other].box, own) if other != index else None
                if both is None:
                    continue
                for each in (index, other):
                    if each not in opacities:
                        opacities[each] = self.sitters[each].warp.opacity(fields[each])
                hidden = _part(opacities[other], fields[other].box, both)
                if other_place < place:  # the farther head hides only the background that this one uncovers
                    hidden = hidden * (1 - _part(opacities[index], fields[index].box, both))
                _part(change, own, both)[:] *= 1 - hidden[..., None]
            _part(total, box, own)[:] += change
        return np.clip(np.rint(total), 0, 255).astype(np.uint8)

    def carry(self, alpha: np.ndarray, fields: Sequence[WarpField]) -> np.ndarray:
        """(H, W) uint8: the picture's transparency, moved along with the heads."""
        out = alpha.copy()
        for index in self.order:
            x0, y0, x1, y1 = fields[index].box
            change = self.sitters[index].warp.carry(alpha, fields[index]).astype(np.float32) - alpha[y0:y1, x0:x1]
            if self.kept is not None:
                change *= 1 - self.kept[y0:y1, x0:x1]
            view = out[y0:y1, x0:x1]
            view[:] = np.clip(np.rint(view + change), 0, 255).astype(np.uint8)
        return out

    @cached_property
    def kept(self) -> np.ndarray | None:
        """(H, W) float32: 1 on the faces that stay, 0 where the moving ones may draw; None where all move."""
        return kept_faces(self.staying, self.image.shape[:2])

    @cached_property
    def _kept_boxes(self) -> list[Box]:
        """Where `kept` is above 0, a box for each face that stays and may be reached."""
        boxes = []
        for landmarks in self.staying:
            x, y, w, h = cv2.boundingRect((kept_faces([landmarks], self.image.shape[:2]) > 0).astype(np.uint8))
            box = (x, y, x + w, y + h)
            if any(_meet(sitter.warp.box, box) for sitter in self.sitters):
                boxes.append(box)
        return boxes

    def jobs(self, picture: np.ndarray, targets: Sequence[np.ndarray]) -> list[Job]:
        """The windows of one composed frame; targets in the order of the sitters."""
        jobs: list[Job] = []
        for index, sitter in enumerate(self.sitters):
            own = sitter.painting.jobs(picture, targets[index], (0, 0))
            for job in own:
                labels = self.labels(index, targets, job.matrix, job.region.size)
                if labels is not None:
                    job.faces = labels
                    mine = (labels == index + 1).astype(np.float32)
                    job.gate = job.gate * np.minimum(mine, cv2.GaussianBlur(mine, (0, 0), LABEL_FEATHER))
            jobs += own
        shared = [job for job in jobs if job.faces is not None]
        if shared:
            features = {id(job.painting): job.features for job in jobs}
            everyone = np.stack([features[id(sitter.painting)] for sitter in self.sitters])
            for job in shared:
                job.others = everyone
        return jobs

    def labels(self, index: int, targets: Sequence[np.ndarray], matrix: np.ndarray, size: int) -> np.ndarray | None:
        """(size, size) int16 of a window: the number of the sitter, from 1, to whom a pixel belongs, 0 for a face that
        stays; None where all belong to sitter `index`.

        A pixel belongs to the nearest head, in units of the heads' sizes, and inside of ovals to the nearest in depth.
        """
        faces = [(number + 1, targets[number]) for number in self.order]
        faces += [(0, landmarks) for landmarks in self.staying]
        points = [(number, to_window(landmarks[OVAL], matrix)) for number, landmarks in faces]
        middle = (size - 1) / 2
        near = [
            (number, oval, radius)
            for number, oval in points
            if (radius := float(np.linalg.norm(oval - oval.mean(0), axis=1).max())) > 0
            and (number == index + 1 or np.linalg.norm(oval.mean(0) - middle) < radius + 0.75 * size)
        ]
        if len(near) < 2:
            return None
        ys, xs = np.mgrid[:size, :size].astype(np.float32)
        distances = [np.hypot(xs - oval[:, 0].mean(), ys - oval[:, 1].mean()) / radius for _, oval, radius in near]
        labels = np.array([number for number, _, _ in near], np.int16)[np.argmin(distances, axis=0)]
        for number, oval, _ in near:
            cv2.fillConvexPoly(labels, cv2.convexHull(np.round(oval).astype(np.int32)), number)
        return None if (labels == index + 1).all() else labels

    def draw(self, targets: Sequence[np.ndarray]) -> tuple[list[WarpField], np.ndarray]:
        """One frame before the network paints: the fields and the picture (H, W, 3)."""
        drawn = [sitter.draw(target) for sitter, target in zip(self.sitters, targets, strict=True)]
        fields = [field for field, _ in drawn]
        return fields, self.compose(fields, [frame for _, frame in drawn])

    def paint(self, pictures: Sequence[np.ndarray], targets: Sequence[Sequence[np.ndarray]]) -> None:
        """Adds the network's residuals to composed frames, in place."""
        painting = self.sitters[0].painting
        if painting is not None:
            jobs = [self.jobs(picture, some) for picture, some in zip(pictures, targets, strict=True)]
            paint_jobs(painting.painter, [job for those in jobs for job in those])


def _meet(one: Box, other: Box) -> Box | None:
    x0, y0, x1, y1 = max(one[0], other[0]), max(one[1], other[1]), min(one[2], other[2]), min(one[3], other[3])
    return (x0, y0, x1, y1) if x1 > x0 and y1 > y0 else None


def _view(picture: np.ndarray, box: Box) -> np.ndarray:
    """The part of a whole picture in a box."""
    return picture[box[1] : box[3], box[0] : box[2]]


def _part(values: np.ndarray, box: Box, part: Box) -> np.ndarray:
    """The view of an array over `box` that lies over `part`."""
    return values[part[1] - box[1] : part[3] - box[1], part[0] - box[0] : part[2] - box[0]]
