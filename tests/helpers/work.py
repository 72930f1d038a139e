"""Work on a bundle that another process finds by its name."""

import time


def sleep(bundle, seconds):
    """Take a while."""
    time.sleep(seconds)


def kind(bundle):
    """The name of its class."""
    return type(bundle).__name__


def predict(bundle, path):
    """What it predicts."""
    return bundle.predict(path)
