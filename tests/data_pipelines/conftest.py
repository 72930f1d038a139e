"""Feature sets made once, from a small corpus of noise, and a local server in place of public
records.
"""

import functools
import http.server
import threading

import pytest
from helpers.noise_corpus import FRONTEND, make_corpus

from data_pipelines import features


@pytest.fixture(scope="session")
def corpus(tmp_path_factory):
    return make_corpus(tmp_path_factory.mktemp("corpus"))


@pytest.fixture(scope="session", params=["features", "waveform"])
def feature_set(request, corpus, tmp_path_factory):
    out = tmp_path_factory.mktemp("sets") / request.param
    features.prepare(corpus, out, FRONTEND, store=request.param, progress=False)
    return features.open_features(out, FRONTEND)


@pytest.fixture
def record(tmp_path):
    """A folder and the address at which it is served."""
    folder = tmp_path / "record"
    folder.mkdir()

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_):
            pass

    with http.server.ThreadingHTTPServer(
        ("127.0.0.1", 0), functools.partial(Quiet, directory=folder)
    ) as httpd:
        thread = threading.Thread(target=httpd.serve_forever, args=(0.01,))
        thread.start()
        yield folder, f"http://127.0.0.1:{httpd.server_port}"
        httpd.shutdown()
        thread.join()
