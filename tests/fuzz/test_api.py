"""The Python API: whatever it is given, it answers or says in one line what is wrong."""

import numpy as np
import pytest
from helpers import verifiers
from helpers.recordings import RATE, tone
from hypothesis import given, settings
from hypothesis import strategies as st

import lin_jax
from lin_jax.audio import files
from lin_jax.audio.frontend_config import FrontendConfig
from lin_jax.bundles.repairer import checked
from lin_jax.errors import AudioError, LinError

DTYPES = ["f2", "f4", "f8", "i1", "i2", "i4", "i8", "u1", "u2", "?", "c8", "U3", "O"]
NUMBERS = st.one_of(
    st.integers(),
    st.floats(),
    st.booleans(),
    st.sampled_from([RATE, 16000.0, np.int64(8000), np.float32(0.5), np.array([RATE]), "16000"]),
    st.none(),
    st.lists(st.integers(), max_size=2),
    st.text(max_size=3),
)


@st.composite
def arrays(draw):
    """Arrays of any type and few dimensions, of zeros or of sound."""
    shape = draw(st.lists(st.sampled_from([0, 1, 2, 3, 500, RATE]), max_size=3).map(tuple))
    shape = shape if np.prod(shape, dtype=float) < 1e5 else (RATE,)
    samples = np.resize(tone(amplitude=draw(st.sampled_from([0, 0.5, 3e4, 3e38]))), shape)
    with np.errstate(all="ignore"):
        return samples.astype(draw(st.sampled_from(DTYPES)))


SOURCES = st.one_of(
    arrays(), st.text(max_size=8), st.binary(max_size=4), st.none(), st.lists(st.floats()), NUMBERS
)


@pytest.fixture(scope="module")
def bundle():
    return verifiers.verifier()


@settings(max_examples=300, deadline=None, derandomize=True, database=None)
@given(SOURCES, NUMBERS, NUMBERS)
def test_anything_is_answered_or_refused_in_one_line(
    tmp_path_factory, bundle, source, rate, number
):
    out = tmp_path_factory.getbasetemp() / "out.wav"
    if isinstance(source, str) and source == "-":
        return  # standard input
    for call in (
        lambda: files.read(source, rate),
        lambda: files.load(source, FrontendConfig(), sample_rate=rate),
        lambda: list(files.blocks(source, rate, block_seconds=0.5)),
        lambda: files.write(out, source, rate),
        lambda: bundle.rate(source, rate),
        lambda: bundle.compare([], [], number),
        lambda: lin_jax.load(source),
        lambda: checked(number),
    ):
        try:
            call()
        except LinError as error:
            message = str(error)
        else:
            continue
        assert len(message.splitlines()) == 1
        assert len(message) < 600


def test_the_usual_is_answered(bundle):
    for samples in (tone(), tone().astype(np.float64), (tone() * 32767).astype(np.int16)):
        assert len(files.load(samples, FrontendConfig(trim_db=None), sample_rate=RATE)) == RATE
        assert bundle.rate(samples, np.int64(RATE)) == bundle.rate(samples, 16000.0) == RATE
    with pytest.raises(AudioError, match="'16000' is no sample rate; give 2,000 to 768,000 in Hz"):
        files.check_rate("16000")
