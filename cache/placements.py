"""Where a network is cut: which modules are skipped on a forecast step, and whose output is forecast instead.

Networks are told by their parts (`down_blocks`, `up_blocks`, lists of transformer blocks), never by their class, so
that networks that are not ours are cut as well.
"""

from dataclasses import dataclass, field

from torch import nn

# the parts of one layer of a UNet block, in the order in which they run
LAYER_PARTS = ("resnets", "temp_convs", "attentions", "temp_attentions", "motion_modules")
STACKS = ("blocks", "transformer_blocks", "single_transformer_blocks", "layers")
INTERLEAVED = "temporal_transformer_blocks"


@dataclass
class Cut:
    """A cut network.

    `placement`: "branch", "blocks" or "output"; `source`: the module whose output is forecast ("branch");
    `skipped`: modules that do not run on a forecast step, the source left out; `stacks`: lists of blocks of which the
    sum is forecast ("blocks"); `motion`: motion modules with an interval of their own.
    """

    placement: str
    source: nn.Module | None = None
    skipped: list[nn.Module] = field(default_factory=list)
    stacks: list[list[nn.Module]] = field(default_factory=list)
    motion: list[nn.Module] = field(default_factory=list)


def find_cut(model: nn.Module, placement: str, branch_depth: int = 1, temporal: bool = False) -> Cut:
    """Cut a network; ValueError where no module of it fits the placement."""
    if placement == "auto":
        placement = "branch" if is_unet(model) else "blocks" if find_stacks(model) else "output"
    if placement == "branch":
        cut = _cut_branch(model, branch_depth)
    elif placement == "blocks":
        cut = _cut_blocks(model)
    else:
        cut = Cut("output")
    if temporal:
        cut.motion = [module for name, module in model.named_modules() if name.split(".")[-2:-1] == ["motion_modules"]]
        if not cut.motion:
            raise ValueError(
                f"`temporal_interval` is set but {type(model).__name__} has no module in a list `motion_modules`."
            )
    return cut


def is_unet(model: nn.Module) -> bool:
    return all(isinstance(getattr(model, name, None), nn.ModuleList) for name in ("down_blocks", "up_blocks"))


def find_stacks(model: nn.Module) -> list[list[nn.Module]]:
    """The model's own lists of transformer blocks, in the order in which they were made."""
    return [
        list(child)
        for name, child in model.named_children()
        if name in STACKS and isinstance(child, nn.ModuleList) and len(child)
    ]


def _cut_blocks(model: nn.Module) -> Cut:
    stacks = find_stacks(model)
    if not stacks:
        raise ValueError(
            f"Placement 'blocks' fits no module of {type(model).__name__}: it has no list named "
            f"{', '.join(STACKS)}; use placement='output'."
        )
    if isinstance(getattr(model, INTERLEAVED, None), nn.ModuleList):
        raise ValueError(
            f"Placement 'blocks' does not fit {type(model).__name__}: its spatial and temporal blocks take turns; "
            "use placement='output'."
        )
    return Cut("blocks", stacks=stacks)


def _cut_branch(model: nn.Module, depth: int) -> Cut:
    if not is_unet(model):
        raise ValueError(
            f"Placement 'branch' fits no module of {type(model).__name__}: it has no lists `down_blocks` and "
            "`up_blocks`; use placement='blocks' or 'output'."
        )
    # what leaves a skip connection on the way down after `conv_in`, and what reads one on the way up
    down, up, mid = [], [], _mid_modules(getattr(model, "mid_block", None))
    for block in model.down_blocks:
        down += _layers(block) + [[sampler] for sampler in _samplers(block, "downsamplers")]
    for block in model.up_blocks:
        up += [(layer, []) for layer in _layers(block)]
        if up:
            up[-1][1].extend(_samplers(block, "upsamplers"))
    if len(up) != len(down) + 1:
        raise ValueError(
            f"Placement 'branch' does not fit {type(model).__name__}: {len(down) + 1} skip connections go into "
            f"{len(up)} up layers; use placement='output'."
        )
    if not 1 <= depth <= len(up):
        raise ValueError(f"`branch_depth` is {depth} but {type(model).__name__} has {len(up)} up layers.")
    deep = [module for layer in down[depth - 1 :] for module in layer] + mid
    for layer, samplers in up[: len(up) - depth]:
        deep += [*layer, *samplers]
    if not deep:
        raise ValueError(f"`branch_depth` is {depth}: nothing of {type(model).__name__} would be left to skip.")
    return Cut("branch", source=deep[-1], skipped=deep[:-1])


def _layers(block: nn.Module) -> list[list[nn.Module]]:
    """The layers of a block, each the modules that it runs one after the other."""
    lists = {name: child for name, child in block.named_children() if isinstance(child, nn.ModuleList)}
    unknown = set(lists) - {*LAYER_PARTS, "downsamplers", "upsamplers"}
    count = len(lists.get("resnets", ()))
    if not count or unknown or any(len(lists[name]) != count for name in LAYER_PARTS if name in lists):
        raise ValueError(
            f"Placement 'branch' does not fit {type(block).__name__}: its layers are not made of "
            f"{', '.join(LAYER_PARTS)}; use placement='output'."
        )
    return [
        [lists[name][index] for name in LAYER_PARTS if name in lists and lists[name][index] is not None]
        for index in range(count)
    ]


def _samplers(block: nn.Module, name: str) -> list[nn.Module]:
    samplers = getattr(block, name, None)
    return list(samplers) if samplers is not None else []


def _mid_modules(block: nn.Module | None) -> list[nn.Module]:
    """The modules of the middle, the one that runs last at the end."""
    if block is None:
        return []
    lists = {name: child for name, child in block.named_children() if isinstance(child, nn.ModuleList)}
    if "resnets" not in lists or set(lists) - set(LAYER_PARTS):
        raise ValueError(
            f"Placement 'branch' does not fit {type(block).__name__}: its parts are not {', '.join(LAYER_PARTS)}; "
            "use placement='output'."
        )
    modules = [module for name in LAYER_PARTS[1:] if name in lists for module in lists[name] if module is not None]
    return modules + list(lists["resnets"])
