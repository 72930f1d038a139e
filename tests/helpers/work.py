"""Work on a bundle that another process finds by its name."""

import time

import numpy as np


def sleep(bundle, seconds):
    """Take a while."""
    time.sleep(seconds)


def kind(bundle):
    """The name of its class."""
    return type(bundle).__name__


def predict_for_ever(bundle, rate):
    """Predict a second of noise again and again."""
    while True:
        bundle.predict(np.random.default_rng(0).normal(0, 0.1, rate), rate)


def predict(bundle, path):
    """What it predicts."""
    return bundle.predict(path)
