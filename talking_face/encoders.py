"""Speech encoders behind one interface: the project's own features, or HuBERT and its kin from a local folder."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

import numpy as np

from animate.errors import OptionError
from talking_face.curves import RATE
from talking_face.features import FEATURES, HOP, audio_features

#: Networks of transformers with the same convolutional front: samples in, a row every 320 samples out.
NETWORKS = ("hubert", "wav2vec2", "wavlm", "data2vec-audio", "unispeech", "unispeech-sat")
#: Rows that a network sees at a time, and the further rows on each side that it sees with them.
BLOCK, CONTEXT = 10 * RATE, 2 * RATE


class SpeechEncoder(Protocol):
    """What turns sound into rows at RATE.

    Attributes:
        name: for reports.
        dimensions: D, numbers a row.
    """

    name: str
    dimensions: int

    def encode(self, audio: np.ndarray) -> np.ndarray:
        """(N,) float32 at SAMPLE_RATE to (max(1, ceil(N / HOP)), D) float32; row k is centred at k / RATE seconds."""


class LogMel:
    """`audio_features` as an encoder: needs no weights."""

    name = "log-mel"
    dimensions = FEATURES

    def encode(self, audio: np.ndarray) -> np.ndarray:
        return audio_features(audio)


class NetworkEncoder:
    """The last hidden layer of a wav2vec 2.0 type network (Baevski et al. 2020; HuBERT: Hsu et al. 2021), float32.

    Its attention sees everything that it is given, so it is given ten seconds at a time, with two more on each side:
    the blocks lie at absolute times, and memory does not grow with the sound.

    Args:
        folder: config.json and model.safetensors as transformers saves them; nothing is downloaded, no pickle is read.
        device: of torch.

    Raises:
        OptionError: transformers is missing, or the folder holds no such network.
    """

    def __init__(self, folder: str | Path, device: str = "cpu") -> None:
        try:
            import transformers
        except ImportError as error:
            raise OptionError("The speech encoders need transformers: pip install 'mien[train]'.") from error
        import torch

        from animate.loading import undisturbed

        folder = Path(folder)
        if not (folder / "config.json").is_file():
            raise OptionError(
                f"{folder} is no speech encoder: give 'log-mel', or a folder with config.json and model.safetensors."
            )
        try:
            config = transformers.AutoConfig.from_pretrained(folder, local_files_only=True)
            if config.model_type not in NETWORKS:
                raise OptionError(
                    f"{folder} holds a network of the type {config.model_type!r}: give one of {', '.join(NETWORKS)}."
                )
            with undisturbed():
                self._network, loaded = transformers.AutoModel.from_pretrained(
                    folder,
                    config=config,
                    local_files_only=True,
                    use_safetensors=True,
                    dtype=torch.float32,
                    output_loading_info=True,
                )
            # the mask's embedding serves training only
            if missing := sorted(key for key in loaded["missing_keys"] if key != "masked_spec_embed"):
                raise ValueError(f"its weights lack {missing[0]} and {len(missing) - 1} more")
            self._normalise = _wants_normalised(folder)
        except (OSError, ValueError, RuntimeError) as error:
            if isinstance(error, OptionError):
                raise
            reason = str(error).strip().partition("\n")[0].rstrip(".")
            raise OptionError(f"{folder} cannot be read as a speech encoder ({reason}).") from error
        self._network.to(device).eval().requires_grad_(False)
        self.name = folder.name
        self.dimensions = int(config.hidden_size)
        self._field, stride = 1, 1
        for kernel, step in zip(config.conv_kernel, config.conv_stride, strict=True):
            self._field += (kernel - 1) * stride
            stride *= step
        if stride != HOP:
            raise OptionError(f"{folder} gives a row every {stride} samples: only networks with {HOP} fit.")

    def encode(self, audio: np.ndarray) -> np.ndarray:
        audio = np.asarray(audio, np.float32)
        if audio.ndim != 1:
            raise OptionError(f"the sound has the shape {audio.shape}: give one channel, (N,).")
        total = max(1, -(-len(audio) // HOP))
        return np.concatenate([self._block(audio, first, total) for first in range(0, total, BLOCK)])

    def _block(self, audio: np.ndarray, first: int, total: int) -> np.ndarray:
        import torch

        begin, end = max(0, first - CONTEXT), min(total, first + BLOCK + CONTEXT)
        # row k is centred at sample HOP k: half the receptive field lies before it
        start = HOP * begin - self._field // 2
        stop = HOP * (end - 1) - self._field // 2 + self._field
        sound = audio[max(0, start) : max(0, stop)]
        if self._normalise and len(sound):
            sound = (sound - sound.mean(dtype=np.float64)) / np.sqrt(sound.var(dtype=np.float64) + 1e-7)
        before = max(0, -start)
        padded = np.pad(sound, (before, stop - start - before - len(sound))).astype(np.float32)
        with torch.inference_mode():
            values = torch.from_numpy(padded)[None].to(self._network.device)
            rows = self._network(values).last_hidden_state[0]  # (end - begin, D)
        return rows[first - begin : min(first + BLOCK, total) - begin].float().cpu().numpy()


def load_encoder(name: str | Path, device: str = "cpu") -> SpeechEncoder:
    """The encoder of a name: "log-mel", or a folder with a network of one of the NETWORKS.

    Raises:
        OptionError: see NetworkEncoder.
    """
    return LogMel() if str(name) == LogMel.name else NetworkEncoder(name, device)


def _wants_normalised(folder: Path) -> bool:
    """Whether the network was trained on sound of zero mean and unit variance; so says its preprocessor's file."""
    import json

    path = folder / "preprocessor_config.json"
    return bool(json.loads(path.read_text(encoding="utf-8")).get("do_normalize", True)) if path.is_file() else True
