"""Clips by how old those are who speak."""

import numpy as np

from data_pipelines.corpora import UNKNOWN
from data_pipelines.feature_set import FeatureSet

CHILD = 14  # years: the voices of younger boys have not broken
BANDS = {"children under 9": (0, 9), "children of 9 to 13": (9, CHILD)}  # years, the last excluded


def ages(clips: FeatureSet) -> np.ndarray:
    """Years of who speaks each clip [B]; NaN where they are not known."""
    given = [row["labels"].get("age", UNKNOWN) for row in clips.rows]
    return np.array([float(age) if age.isdigit() else np.nan for age in given])


def by_age(clips: FeatureSet) -> dict[str, np.ndarray]:
    """Clips [B] bool of children, and of those in each of `BANDS`, by name; those of nobody left out."""
    years = ages(clips)
    groups = {"children": years < CHILD}
    groups |= {name: (years >= low) & (years < high) for name, (low, high) in BANDS.items()}
    return {name: mask for name, mask in groups.items() if mask.any()}
