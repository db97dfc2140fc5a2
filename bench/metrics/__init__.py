"""The benchmark's metrics, one idea a file, in the order of a report's columns.

``METRICS`` look at a method's pictures, ``SPEECH_METRICS`` at what its motion does with the mouth over time.
"""

from bench.metrics.base import Metric, Reference, Sample
from bench.metrics.closures_met import ClosuresMet
from bench.metrics.detail import InnerDetail
from bench.metrics.flicker import Flicker
from bench.metrics.identity import Identity
from bench.metrics.jerk import Jerk
from bench.metrics.l1 import EyesL1, FaceL1, InnerL1, MouthL1
from bench.metrics.lag import Lag
from bench.metrics.landmark import LandmarkDistance
from bench.metrics.opening import EyeCorrelation, MouthCorrelation
from bench.metrics.psnr import FacePSNR
from bench.metrics.silence_motion import SilenceMotion
from bench.metrics.speech import SpeechMetric
from bench.metrics.speech_correlation import (
    BestOpenCorrelation,
    ClosureCorrelation,
    OpenCorrelation,
    WidthCorrelation,
)
from bench.metrics.ssim import FaceSSIM

METRICS: dict[str, type[Metric]] = {
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

__all__ = [
    "METRICS",
    "SPEECH_METRICS",
    "Metric",
    "Reference",
    "Sample",
    "SpeechMetric",
    "create_metrics",
    "missing_metrics",
]


def missing_metrics() -> dict[str, str]:
    """Metrics that cannot be computed here: name -> what is needed."""
    return {name: reason for name, metric in METRICS.items() if (reason := metric.missing())}


def create_metrics(reference: Reference) -> list[Metric]:
    """Fresh metrics for one clip of one system; those whose weights are missing are left out."""
    available = [metric for metric in METRICS.values() if not metric.missing()]
    return [metric(reference) if metric is Identity else metric() for metric in available]
