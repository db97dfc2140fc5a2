"""Weights that metrics need and Mien does not ship: where they lie, and the sentence that says what to get."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from weights.errors import WeightsError
from weights.registry import get

if TYPE_CHECKING:
    import torch


def weight_file(name: str) -> Path | None:
    """The first file of the registry's record, where it lies (`weights.places`), or None."""
    record = get(name)
    return record.find(record.files[0])


def weights_missing(name: str) -> str | None:
    """What to get before the metric can be computed, as "needs …"; None when the file is here."""
    if weight_file(name) is not None:
        return None
    record = get(name)
    file = record.files[0]
    if record.repository is not None:
        return f"needs {file} ({record.licence}): mien weights pull {name}"
    # The path is written as everyone's, not as this machine's: reports are published.
    return f"needs {file} ({record.source}; {record.licence}), to be put into ~/.cache/mien/{name}"


def describe(name: str) -> str:
    """File and licence for a report."""
    record = get(name)
    return f"{', '.join(record.files)} ({record.licence})"


def load_state(path: Path) -> dict[str, torch.Tensor]:
    """The tensors of a checkpoint, whatever its file's ending; nothing in it is run.

    Raises:
        WeightsError: it is damaged or holds more than tensors.
    """
    import torch

    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # the unpickler's errors come in many classes
        raise WeightsError(f"{path} cannot be read as a checkpoint of tensors: get it again.") from error
    state = state.get("state_dict", state) if isinstance(state, dict) else state
    if not isinstance(state, dict) or not all(isinstance(value, torch.Tensor) for value in state.values()):
        raise WeightsError(f"{path} holds more than tensors: get it again.")
    return {key.removeprefix("module."): value for key, value in state.items()}


def load_into(network: torch.nn.Module, path: Path, name: str, drop: tuple[str, ...] = ()) -> torch.nn.Module:
    """A network with a checkpoint's weights, frozen and in inference mode.

    Args:
        network: the network.
        path: the checkpoint.
        name: what to call it in an error.
        drop: beginnings of keys that this use does not need.

    Raises:
        WeightsError: the keys or shapes are not the network's.
    """
    from weights.convert import fit

    state = {key: value for key, value in load_state(path).items() if not key.startswith(drop)}
    counters = {key for key in network.state_dict() if key.endswith("num_batches_tracked")}
    state = {key: value for key, value in state.items() if not key.endswith("num_batches_tracked")}
    expected = {key: tuple(value.shape) for key, value in network.state_dict().items() if key not in counters}
    fit(state, expected, name)
    network.load_state_dict(state, strict=False)
    return network.eval().requires_grad_(False)
