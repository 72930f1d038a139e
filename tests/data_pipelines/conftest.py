"""Feature sets made once, from a small corpus of noise."""

import pytest
from noise_corpus import FRONTEND, make_corpus

from data_pipelines import features


@pytest.fixture(scope="session")
def corpus(tmp_path_factory):
    return make_corpus(tmp_path_factory.mktemp("corpus"))


@pytest.fixture(scope="session", params=["features", "waveform"])
def feature_set(request, corpus, tmp_path_factory):
    out = tmp_path_factory.mktemp("sets") / request.param
    features.prepare(corpus, out, FRONTEND, store=request.param, progress=False)
    return features.open_features(out, FRONTEND)
