"""This project's own animator as a system under test; also the baselines still and warp."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from functools import cached_property, lru_cache
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from animate.animator import METHODS, PortraitAnimator, model_folder
from bench.runner.scene import LeftOut, Scene
from bench.suites.manifest import sha256
from bench.systems.system import Failed, FrameSystem

if TYPE_CHECKING:
    from talking_face.talker import Talker

ROOT = Path(__file__).resolve().parents[2]
CODE = ("animate", "talking_face", "cache")
WEIGHT_SUFFIXES = (".safetensors", ".npz", ".json")


class Mien(FrameSystem):
    """A method (mini, prior, warp, still) or a model (a name or a folder). Speech is acted by the embedded talker.

    Raises:
        WeightsError: the model's weights are not there.
    """

    def __init__(self, model: str):
        self.model = model
        self._folders = [] if model in ("still", "warp", "prior") else [model_folder(model)]

    @cached_property
    def animator(self) -> PortraitAnimator:
        """Loaded when first asked for."""
        options = {"method": self.model} if self.model in METHODS else {"name_or_folder": self.model}
        return PortraitAnimator.from_pretrained(**options)

    @cached_property
    def talker(self) -> Talker:
        """The embedded one, loaded when first asked for."""
        from talking_face.talker import Talker

        return Talker.from_pretrained()

    def load(self, scene: Scene) -> None:
        self.animator  # noqa: B018 (loads)
        if scene.sound is not None:
            self.talker  # noqa: B018

    def digest(self, case_id: str) -> str:
        weights = [f"{file['name']} {file['sha256']}" for file in self.weights()]
        return hashlib.sha256("\n".join([self.model, *weights, _code()]).encode()).hexdigest()

    def weights(self) -> list[dict[str, str]]:
        return [
            {"name": file.relative_to(folder.parent).as_posix(), "sha256": sha256(file)}
            for folder in self._folders
            for file in sorted(folder.rglob("*"))
            if file.suffix in WEIGHT_SUFFIXES
        ]

    def frames(self, scene: Scene) -> Iterator[np.ndarray]:
        portrait = scene.portrait
        if portrait is None:
            raise LeftOut("This case wants a picture of nothing but faces and words, which is no portrait animation.")
        if self.model == "still":
            return (portrait.image for _ in range(scene.count))
        if not portrait.faces:
            raise Failed("No face is found in the portrait.")
        if scene.sound is not None:
            return self._speak(scene)
        if any(actor.face is None for actor in scene.actors):
            lost = sum(actor.face is None for actor in scene.actors)
            raise Failed(f"{lost} of {len(scene.actors)} faces are not found in the portrait.")
        if len(scene.actors) == 1:
            actor = scene.actors[0]
            return self.animator.animate(portrait, actor.clip.motion, mode=scene.mode, face=actor.face)
        from animate.group import Part

        parts = [Part(actor.face, actor.clip.motion) for actor in scene.actors]
        return self.animator.animate_group(portrait, parts, mode=scene.mode)

    def _speak(self, scene: Scene) -> Iterator[np.ndarray]:
        from animate.movement import in_parts
        from animate.retarget import Retargeter
        from talking_face.lips import rest_like
        from talking_face.talker import TalkOptions

        motion = self.talker.motion(scene.sound, scene.fps, TalkOptions())
        own = scene.portrait.faces[0].landmarks
        targets = in_parts(Retargeter(own, rest_like(motion, own)), len(motion))
        return self.animator.render(scene.portrait, chain.from_iterable(targets), own)


@lru_cache(maxsize=1)
def _code() -> str:
    """A digest of the code that draws: another version may draw otherwise."""
    total = hashlib.sha256()
    for file in sorted(path for folder in CODE for path in (ROOT / folder).rglob("*.py")):
        total.update(f"{file.relative_to(ROOT).as_posix()} {sha256(file)}\n".encode())
    return total.hexdigest()
