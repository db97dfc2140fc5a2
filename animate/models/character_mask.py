"""CharacterMask: whose expression a video token shows.

Each character has a region that may move from frame to frame, given as masks or boxes. On the grid of the transformer's
video tokens face i attends to driver i alone, for any number of characters. `compat` is what FantasyPortrait's public
code does instead, which is right for two faces and wrong from three on.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from animate.errors import OptionError
from animate.models.portrait_tokens import FRAMES_PER_LATENT

OVERLAPS = ("nearest", "soft")
BACKGROUNDS = ("none", "all", "nearest")
PADDINGS = ("masked", "compat")


@dataclass(frozen=True)
class MaskRows:
    """What the adapter's attention needs for some latent frames.

    mask: (frames, 1, h*w, L), bool (True = attend) or what is added to the logits; None: all attend to all.
    lonely: (frames, h*w) bool, video tokens that attend to nothing and get nothing; None: there are none.
    """

    mask: torch.Tensor | None
    lonely: torch.Tensor | None


class CharacterMask:
    """Which expression tokens each video token attends to.

    Args:
        weights: (F, h, w, N), how much of each character's expression a video token shows, in [0, 1]; bool for all or
            nothing.
        tokens_per_face: expression tokens of one character in a latent frame.
        real: (N, F, tokens_per_face) bool, False for padding that nobody attends to; None: no token is padding.
    """

    def __init__(self, weights: torch.Tensor, tokens_per_face: int = 97, real: torch.Tensor | None = None):
        if weights.ndim != 4:
            raise OptionError(f"The weights of a mask must be (F, h, w, N) but are {_size(weights.shape)}.")
        self.weights = weights
        self.tokens_per_face = tokens_per_face
        self.real = real
        frames, characters = weights.shape[0], weights.shape[-1]
        if real is not None and tuple(real.shape) != (characters, frames, tokens_per_face):
            raise OptionError(
                f"What tokens are real must be {_size((characters, frames, tokens_per_face))} for {characters} "
                f"characters and {frames} latent frames but is {_size(real.shape)}."
            )
        self._made: dict[tuple, MaskRows] = {}

    @classmethod
    def from_regions(
        cls,
        masks: torch.Tensor,
        grid: Sequence[int],
        tokens_per_face: int = 97,
        real: torch.Tensor | None = None,
        overlap: str = "nearest",
        background: str = "none",
        padding: str = "masked",
        compat: bool = False,
    ) -> "CharacterMask":
        """From a region for each character.

        Args:
            masks: (N, T, H, W), bool or in [0, 1], character 0 first: a mask for each video frame (T = 4F - 3), for
                each latent frame (T = F), or one for all (T = 1). H and W are a whole multiple of the grid's, the same
                for both. Boxes: `regions_from_boxes`.
            grid: (F, h, w), latent frames and video tokens of the transformer.
            tokens_per_face, real: as above.
            overlap: a video token in several regions is the character's whose region's middle is nearest, in units of
                the region's size ("nearest"), or shows all of them by how much each covers of it ("soft").
            background: video tokens in no region attend to nobody ("none"), to everybody ("all"), or to the nearest
                character ("nearest").
            padding: tokens that are not `real` are left out ("masked"), or have their share of the softmax, as the
                checkpoint was trained ("compat").
            compat: as the public code does, whatever the other options say: of regions that overlap the last wins,
                each face i attends to all drivers but number N - 1 - i, the background to all.

        Raises:
            OptionError: an unknown option, or sizes that do not fit.
        """
        for name, value, known in (
            ("overlap", overlap, OVERLAPS),
            ("background", background, BACKGROUNDS),
            ("padding", padding, PADDINGS),
        ):
            if value not in known:
                raise OptionError(f"There is no {name} policy {value!r}: choose {', '.join(known)}.")
        cover = _cover(masks, tuple(grid))
        if compat:
            return cls(_released(cover), tokens_per_face)
        inside = cover > 0
        near = _nearest(cover, inside) if "nearest" in (overlap, background) else None
        if overlap == "nearest":
            weights = inside & _one_hot(near, inside.shape[-1])
        else:
            several = (inside.sum(-1, keepdim=True) > 1).any()
            weights = cover if several else inside
        if background != "none":
            outside = ~inside.any(-1, keepdim=True)
            anyone = (
                inside.flatten(1, 2).any(1)[:, None, None] if background == "all" else _one_hot(near, inside.shape[-1])
            )
            weights = torch.where(outside, anyone.to(weights.dtype), weights)
        return cls(weights, tokens_per_face, real if padding == "masked" else None)

    @classmethod
    def everywhere(cls, real: torch.Tensor, grid: Sequence[int]) -> "CharacterMask":
        """All video tokens attend to all tokens that are real, (N, F, tokens_per_face) bool."""
        return cls(torch.ones(*grid, len(real), dtype=torch.bool), real.shape[-1], real)

    @property
    def grid(self) -> tuple[int, int, int]:
        """Latent frames, rows and columns of video tokens."""
        return tuple(self.weights.shape[:3])

    @property
    def characters(self) -> int:
        return self.weights.shape[-1]

    @property
    def tokens(self) -> int:
        """Expression tokens of all characters in a latent frame."""
        return self.characters * self.tokens_per_face

    def window(self, start: int, stop: int) -> "CharacterMask":
        """The same for latent frames `start` to `stop`, without `stop`."""
        real = None if self.real is None else self.real[:, start:stop]
        return CharacterMask(self.weights[start:stop], self.tokens_per_face, real)

    def check(self, grid: Sequence[int], tokens: int) -> None:
        """Raises OptionError where the video or the expression is of another size."""
        if tuple(grid) != self.grid:
            raise OptionError(
                f"The characters' masks are for {_size(self.grid)} video tokens (frames x rows x columns) but the "
                f"video has {_size(grid)}."
            )
        if tokens != self.tokens:
            raise OptionError(
                f"The masks are for {self.characters} characters with {self.tokens_per_face} tokens each but the "
                f"expression has {tokens} tokens a frame."
            )

    def at(self, first: int, last: int, device: torch.device | str, dtype: torch.dtype) -> MaskRows:
        """For latent frames `first` to `last`, without `last`; `dtype` is that of the queries. Made once."""
        key = first, last, torch.device(device), dtype
        if key not in self._made:
            self._made[key] = self._make(*key)
        return self._made[key]

    def _make(self, first: int, last: int, device: torch.device, dtype: torch.dtype) -> MaskRows:
        weights = self.weights[first:last].flatten(1, 2).to(device).repeat_interleave(self.tokens_per_face, dim=-1)
        attend = weights > 0  # (frames, h*w, L)
        if self.real is not None:
            real = self.real[:, first:last].transpose(0, 1).flatten(1)  # (frames, L)
            attend = attend & real[:, None].to(device)
        if attend.all() and weights.dtype == torch.bool:
            return MaskRows(None, None)
        lonely = ~attend.any(-1)  # softmax of nothing: such a row sees all, and its result is dropped
        attend = attend | lonely[..., None]
        if weights.dtype == torch.bool:
            mask = attend
        else:
            share = torch.where(lonely[..., None], 1, weights.float()).log()
            mask = torch.where(attend, share, -torch.inf).to(dtype)
        return MaskRows(mask.unsqueeze(1), lonely if bool(lonely.any()) else None)


def regions_from_boxes(boxes: torch.Tensor, size: Sequence[int], grid: Sequence[int]) -> torch.Tensor:
    """How much of each video token's square lies in a box, exactly: masks for `CharacterMask.from_regions`.

    Args:
        boxes: (N, T, 4), left, top, right, bottom in pixels, any T that `from_regions` takes; NaN or a box without
            area: the character is not there.
        size: (H, W) of the picture in pixels. grid: (F, h, w) video tokens.

    Returns:
        (N, T, h, w) in [0, 1].

    Raises:
        OptionError: boxes of another shape, or a picture that the grid does not divide.
    """
    if boxes.ndim != 3 or boxes.shape[-1] != 4:
        raise OptionError(f"The characters' boxes must be (characters, frames, 4) but are {_size(boxes.shape)}.")
    rows, columns = grid[1:]
    if size[0] % rows or size[1] % columns:
        raise OptionError(f"A picture of {_size(size)} pixels cannot be cut into {rows} x {columns} video tokens.")
    left, top, right, bottom = torch.nan_to_num(boxes.double(), nan=0.0).unbind(-1)

    def along(begin: torch.Tensor, end: torch.Tensor, pixels: int, cells: int) -> torch.Tensor:
        edges = torch.arange(cells + 1, device=boxes.device) * (pixels / cells)
        inside = torch.minimum(end[..., None], edges[1:]) - torch.maximum(begin[..., None], edges[:-1])
        return inside.clamp(min=0) * (cells / pixels)  # (N, T, cells)

    return (along(top, bottom, size[0], rows)[..., None] * along(left, right, size[1], columns)[..., None, :]).float()


def _cover(masks: torch.Tensor, grid: tuple[int, int, int]) -> torch.Tensor:
    """(N, T, H, W) -> (F, h, w, N) float, the mean over each video token's square and its latent frame."""
    if masks.ndim != 4:
        raise OptionError(f"The characters' masks must be (characters, frames, H, W) but are {_size(masks.shape)}.")
    frames, rows, columns = grid
    number, given, height, width = masks.shape
    if height % rows or width % columns or height // rows != width // columns:
        raise OptionError(
            f"Masks of {height} x {width} do not fit {rows} x {columns} video tokens: give masks as large as the "
            "picture."
        )
    pictures = FRAMES_PER_LATENT * (frames - 1) + 1
    if given not in (1, frames, pictures):
        raise OptionError(
            f"{given} masks a character do not fit the video: give {pictures} (one a frame), {frames} (one a latent "
            "frame) or 1 for the whole video."
        )
    scale = height // rows
    cells = masks.float().reshape(number, given, rows, scale, columns, scale).mean((3, 5))  # (N, T, h, w)
    if given == 1:
        cells = cells.expand(-1, frames, -1, -1)
    elif given != frames:
        later = cells[:, 1:].unflatten(1, (-1, FRAMES_PER_LATENT)).mean(2)
        cells = torch.cat([cells[:, :1], later], dim=1)
    return cells.permute(1, 2, 3, 0)


def _released(cover: torch.Tensor) -> torch.Tensor:
    """(F, h, w, N) -> what attends to whom in FantasyPortrait's public code.

    Faces are painted as numbers 1 to N, the later over the earlier, and tokens take the largest number in them. The
    drivers come in reverse order, and a token attends to the segments whose number is not its own.
    """
    number = cover.shape[-1]
    faces = torch.where(cover > 0, torch.arange(1, number + 1, device=cover.device), 0).amax(-1, keepdim=True)
    segments = torch.arange(number, 0, -1, device=cover.device)  # driver j lies in segment N - j
    return faces != segments


def _nearest(cover: torch.Tensor, inside: torch.Tensor) -> torch.Tensor:
    """(F, h, w) the character whose region's middle is nearest, in units of the region's size.

    Among the characters in whose region the token lies, or all of the frame where it lies in none. A character whose
    region is empty in a frame has no token there.
    """
    frames, rows, columns, number = cover.shape
    y = torch.arange(rows, device=cover.device).view(1, rows, 1, 1) + 0.5
    x = torch.arange(columns, device=cover.device).view(1, 1, columns, 1) + 0.5
    area = cover.sum((1, 2), keepdim=True)
    middle_y, middle_x = ((cover * at).sum((1, 2), keepdim=True) / area for at in (y, x))
    distance = ((y - middle_y) ** 2 + (x - middle_x) ** 2) / area
    distance = torch.where(area > 0, distance, torch.inf)  # (F, h, w, N)
    outside = ~inside.any(-1, keepdim=True)
    return torch.where(inside | outside, distance, torch.inf).argmin(-1)


def _one_hot(index: torch.Tensor, number: int) -> torch.Tensor:
    return index.unsqueeze(-1) == torch.arange(number, device=index.device)


def _size(shape: Sequence[int]) -> str:
    return " x ".join(map(str, shape))
