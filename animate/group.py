"""Several faces of one portrait at once: `PortraitAnimator.animate_group`.

frames = animator.animate_group(portrait, [Part(0, smile), Part(2, nod)])
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import TYPE_CHECKING

import numpy as np

from animate.errors import FaceError, OptionError
from animate.movement import in_parts, portrait_facts, survey
from animate.pipelines.windows import Window, overlapping
from animate.prior import InteriorPrior
from animate.retarget import Retargeter
from animate.warp import PortraitWarp
from animate.work_folder import WorkFolder, checksum

if TYPE_CHECKING:
    from animate.group_scene import GroupScene
    from animate.motion import Motion
    from animate.portrait import Portrait


@dataclass(frozen=True)
class Part:
    """A face and its movement.

    Attributes:
        face: index into the portrait's faces.
        motion: all parts of a group have the same length and frame rate (`animate.ensemble` sees to it).
    """

    face: int
    motion: Motion


@dataclass(frozen=True)
class ExpressionPart:
    """A face and the expression features that drive it, for models that take them (`animate.expression_animator`).

    Attributes:
        face: index into the portrait's faces.
        features: (T, 554) of `animate.expression_clip`; all parts of a group have the same length and frame rate.
    """

    face: int
    features: np.ndarray


def check_parts(parts: Sequence[Part], faces: int, name: str) -> None:
    """OptionError, in one sentence, for parts that cannot be drawn together."""
    check_faces(parts, faces, name)
    if len({(len(part.motion), part.motion.fps) for part in parts}) > 1:
        lengths = ", ".join(f"{len(part.motion)} frames at {float(part.motion.fps):g}" for part in parts)
        raise OptionError(f"The motions of a group must have one length and frame rate but are {lengths}.")


def check_faces(parts: Sequence[Part | ExpressionPart], faces: int, name: str) -> None:
    """OptionError, in one sentence, for no part, a face that is not there, or one that is given twice."""
    if not parts:
        raise OptionError("No face is to move: name at least one face and its motion.")
    for part in parts:
        if not 0 <= part.face < faces:
            raise OptionError(f"There is no face {part.face} in {name}: it shows {faces}, counted from 0.")
    chosen = [part.face for part in parts]
    if twice := sorted({face for face in chosen if chosen.count(face) > 1}):
        raise OptionError(f"Face {twice[0]} is given two motions: give it one.")


class GroupMixin:
    """Of an animator that warps, fills and paints regions (`PortraitAnimator`)."""

    def animate_group(
        self,
        portrait: Portrait,
        parts: Sequence[Part],
        *,
        mode: str = "relative",
        strengths: dict | None = None,
        regions=None,
        work: WorkFolder | None = None,
    ) -> Iterator[np.ndarray]:
        """Frames (H, W, 3|4) uint8 in which several faces of the portrait move, each with its own motion.

        Faces without a part stay as they are, bit for bit. One part alone gives what `animate` gives.

        Args:
            parts: a face and its motion each; all motions have one length and frame rate.
            mode, strengths, regions, work: as in `animate`, for all faces.

        Raises:
            FaceError, OptionError: at once, before the first frame.
        """
        if not portrait.faces:
            raise FaceError(f"No face is found in {portrait.name}: use a picture in which a face is seen clearly.")
        check_parts(parts, len(portrait.faces), portrait.name)
        self.timings.clear()
        if self.cached is not None:
            self.cached.clear()
        with self.timed("retarget"):
            sources = [portrait.faces[part.face].landmarks for part in parts]
            targets = [
                Retargeter(source, part.motion, mode, strengths, regions)
                for source, part in zip(sources, parts, strict=True)
            ]
        length = len(parts[0].motion)
        if work is not None:
            with self.timed("retarget"):
                movements = [survey(in_parts(each, length))[1] for each in targets]
            work.claim("movement", {"movement": checksum(*movements)})
        landmarks = [chain.from_iterable(in_parts(each, length)) for each in targets]
        each_frame = (np.stack(some) for some in zip(*landmarks, strict=True))
        return self.render_group(portrait, each_frame, [part.face for part in parts], work)

    def render_group(
        self, portrait: Portrait, landmarks: Iterable[np.ndarray], faces: Sequence[int], work: WorkFolder | None = None
    ) -> Iterator[np.ndarray]:
        """Frames for target landmarks, (N, 478, 3) px each, of N of the portrait's faces.

        Raises:
            OptionError: `work` belongs to another job; at once, or at the first frame whose landmarks differ.
        """
        if self.method == "still":
            return (portrait.image.copy() for _ in landmarks)
        count = self._chunk(portrait)
        if work is not None:
            sources = [portrait.faces[face].landmarks for face in faces]
            facts = {
                "portrait": checksum(*(portrait_facts(portrait, source) for source in sources)),
                "method": self.method,
                "window": count,
            }
            work.claim("drawing", facts | (self.painter.facts() if self.painter is not None else {}))
        return self._render_group(portrait, overlapping(landmarks, count, overlap=0), faces, work)

    def _render_group(
        self,
        portrait: Portrait,
        pieces: Iterator[tuple[Window, list[np.ndarray]]],
        faces: Sequence[int],
        work: WorkFolder | None,
    ) -> Iterator[np.ndarray]:
        with self.timed("prepare"):
            scene = self._scene(portrait, faces)

        def draw(window: Window, targets: list[np.ndarray], known=None) -> list[np.ndarray]:
            return self._draw_group(portrait.image, targets[-len(window.drawn) :], scene)

        draw_window = draw if work is None else work.remember(draw)
        for frames in self.side_by_side(lambda piece: draw_window(*piece, {}), pieces):
            yield from frames

    def _scene(self, portrait: Portrait, faces: Sequence[int]) -> GroupScene:
        from animate.group_scene import GroupScene, Sitter

        image = portrait.image
        colour = np.ascontiguousarray(image[..., :3])
        sitters = []
        for face in faces:
            source = portrait.faces[face].landmarks
            others = [other.landmarks for number, other in enumerate(portrait.faces) if number != face]
            warp = PortraitWarp(colour, source, self._person(image, source), others)
            prior = InteriorPrior(warp) if self.method != "warp" else None
            sitters.append(Sitter(warp, prior, self.painter.start(warp) if self.painter is not None else None))
        staying = [face.landmarks for number, face in enumerate(portrait.faces) if number not in faces]
        scene = GroupScene(colour, sitters, staying)
        scene.draw([sitter.warp.source for sitter in sitters])  # makes what the worker threads share
        return scene

    def _draw_group(self, image: np.ndarray, targets: list[np.ndarray], scene: GroupScene) -> list[np.ndarray]:
        with self.timed("warp", self.workers):
            drawn = [scene.draw(some) for some in targets]
        pictures = [picture for _, picture in drawn]
        with self.timed("network", self.workers):
            scene.paint(pictures, targets)
        if image.shape[2] == 3:
            return pictures
        with self.timed("paste", self.workers):
            alpha = np.ascontiguousarray(image[..., 3])
            carried = [scene.carry(alpha, fields) for fields, _ in drawn]
            return [np.dstack(both) for both in zip(pictures, carried, strict=True)]
