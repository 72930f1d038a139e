"""Metrics, one file a kind; what needs only arrays is here under one roof."""

from lin_jax.metrics.alignment import alignment_metrics
from lin_jax.metrics.bootstrap import (
    bootstrap_interval,
    bootstrap_mean,
    bootstrap_trials,
    mean_with_interval,
)
from lin_jax.metrics.classification import (
    accuracy,
    confusion_by_speaker,
    confusion_matrix,
    expected_calibration_error,
    macro_f1,
    mean_by_speaker,
    recalls,
    reliability,
    uar,
)
from lin_jax.metrics.verification import Trials, det_curve, equal_error_rate, min_dcf

__all__ = [
    "Trials",
    "accuracy",
    "alignment_metrics",
    "bootstrap_interval",
    "bootstrap_mean",
    "bootstrap_trials",
    "confusion_by_speaker",
    "confusion_matrix",
    "det_curve",
    "equal_error_rate",
    "expected_calibration_error",
    "macro_f1",
    "mean_by_speaker",
    "mean_with_interval",
    "min_dcf",
    "recalls",
    "reliability",
    "uar",
]
