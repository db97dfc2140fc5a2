"""The benchmark's metrics, one idea a file, in the order of a report's columns.

``METRICS`` look at a system's pictures: all that any suite may ask for. ``REENACT_METRICS`` are the twelve columns of
``python -m bench.reenact``. ``SPEECH_METRICS`` look at what a method's motion does with the mouth over time; the
metrics ``talk_…`` of ``METRICS`` are the same, read off a finished video.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable

from bench.metrics.action_units import ActionUnits, AUMesh, Emotion
from bench.metrics.aed import AEDMesh, APDMesh, MovementMesh
from bench.metrics.akd import AKD, LMD
from bench.metrics.arcface import IdentityArcFace
from bench.metrics.base import Metric, Reference, Requirement, Sample, SetMetric
from bench.metrics.blink import BlinkF1
from bench.metrics.closures_met import ClosuresMet
from bench.metrics.detail import InnerDetail
from bench.metrics.drift import IdentityDrift, SharpnessDrift
from bench.metrics.face_parameters import AED, APD
from bench.metrics.face_quality import FaceQualityRule
from bench.metrics.fid import FID, KID
from bench.metrics.flicker import Flicker
from bench.metrics.frechet_dlib import FrechetDlib
from bench.metrics.fvd import FVD
from bench.metrics.gaze import GazeMesh
from bench.metrics.gaze_network import GazeL2CS
from bench.metrics.identity import Identity
from bench.metrics.jerk import Jerk
from bench.metrics.l1 import L1, EyesL1, FaceL1, InnerL1, MouthL1
from bench.metrics.lag import Lag
from bench.metrics.landmark import LandmarkDistance
from bench.metrics.lpips import LPIPS
from bench.metrics.lse import LSEC, LSED
from bench.metrics.multi_human import (
    FaceCount,
    MatchedIdentity,
    MatchedIdentityArcFace,
    MatchedIdentityArcFaceCompat,
    MatchedIdentityCompat,
)
from bench.metrics.opening import EyeCorrelation, MouthCorrelation
from bench.metrics.psnr import PSNR, FacePSNR
from bench.metrics.silence_motion import SilenceMotion
from bench.metrics.speech import SpeechMetric
from bench.metrics.speech_correlation import (
    BestOpenCorrelation,
    ClosureCorrelation,
    OpenCorrelation,
    WidthCorrelation,
)
from bench.metrics.ssim import SSIM, FaceSSIM, MultiScaleSSIM
from bench.metrics.sync_sound import SyncClosures, SyncCorrelation, SyncLag, SyncPhones
from bench.metrics.talk_video import on_video
from bench.metrics.tlp import TLP
from bench.metrics.warping_error import WarpingError

SPEECH_METRICS: dict[str, SpeechMetric] = {
    metric.name: metric()
    for metric in (
        OpenCorrelation,
        BestOpenCorrelation,
        WidthCorrelation,
        ClosureCorrelation,
        Lag,
        ClosuresMet,
        SilenceMotion,
        Jerk,
    )
}

REENACT_METRICS: dict[str, type[Metric]] = {
    metric.name: metric
    for metric in (
        FaceL1,
        FacePSNR,
        FaceSSIM,
        MouthL1,
        InnerL1,
        InnerDetail,
        EyesL1,
        LandmarkDistance,
        MouthCorrelation,
        EyeCorrelation,
        Identity,
        Flicker,
    )
}

METRICS: dict[str, type[Metric]] = {
    metric.name: metric
    for metric in (
        L1,
        PSNR,
        SSIM,
        MultiScaleSSIM,
        LPIPS,
        *REENACT_METRICS.values(),
        FID,
        KID,
        FVD,
        FrechetDlib,
        TLP,
        WarpingError,
        AKD,
        LMD,
        AED,
        AEDMesh,
        APD,
        APDMesh,
        MovementMesh,
        BlinkF1,
        GazeL2CS,
        GazeMesh,
        ActionUnits,
        AUMesh,
        Emotion,
        IdentityArcFace,
        FaceQualityRule,
        IdentityDrift,
        SharpnessDrift,
        LSED,
        LSEC,
        SyncCorrelation,
        SyncLag,
        SyncPhones,
        SyncClosures,
        *(on_video(metric) for metric in SPEECH_METRICS.values()),
        FaceCount,
        MatchedIdentity,
        MatchedIdentityCompat,
        MatchedIdentityArcFace,
        MatchedIdentityArcFaceCompat,
    )
}

LACKS = {
    "truth": "there is no true video to compare with",
    "driver": "there is no driving video",
    "portrait": "there is no portrait",
    "sound": "there is no sound",
    "faces": "nobody says who should be in the picture",
}
"""Why a metric is not computed for a case that lacks something."""

__all__ = [
    "LACKS",
    "METRICS",
    "REENACT_METRICS",
    "SPEECH_METRICS",
    "Metric",
    "Reference",
    "Requirement",
    "Sample",
    "SetMetric",
    "SpeechMetric",
    "create_metrics",
    "missing_metrics",
    "not_computed",
]


def missing_metrics(names: Iterable[str] = tuple(REENACT_METRICS)) -> dict[str, str]:
    """Metrics that cannot be computed on this machine: name -> what is needed."""
    return {name: reason for name in names if (reason := METRICS[name].missing())}


def not_computed(name: str, has: Collection[Requirement]) -> str | None:
    """Why a metric has no value for any clip of a kind, or None where it can be computed.

    Args:
        name: of ``METRICS``.
        has: what the case has.
    """
    metric = METRICS[name]
    lacking = [LACKS[need] for need in sorted(metric.requires - set(has))]
    return lacking[0] if lacking else metric.missing()


def create_metrics(
    reference: Reference, names: Iterable[str] = tuple(REENACT_METRICS), has: Collection[Requirement] = tuple(LACKS)
) -> list[Metric]:
    """Fresh metrics for one clip of one system; those that cannot be computed (`not_computed`) are left out.

    Raises:
        KeyError: an unknown name.
    """
    return [METRICS[name].create(reference) for name in names if not_computed(name, has) is None]
