"""The HTTP API: whatever is sent to it, it answers as its description says, and never with an error of its own."""

import collections
import io

import pytest
import schemathesis
import soundfile
from helpers import repairers, synthesizers, verifiers
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from schemathesis import checks

from lin_jax.apps import api, serving

NAMED = ["audio/speech", "identify"]  # whose texts, of models or people, chance does not hit
EXAMPLES = 30  # of each route
CHECKS = [
    checks.not_a_server_error,
    checks.status_code_conformance,
    checks.content_type_conformance,
    checks.response_schema_conformance,
]


def voice() -> bytes:
    """A recording of a second and a half."""
    file = io.BytesIO()
    soundfile.write(file, verifiers.voice(0, 1.5, 0), verifiers.RATE, format="WAV")
    return file.getvalue()


@pytest.fixture(scope="module")
def description():
    """The API of small bundles, by its own description."""
    served = verifiers.verifier(), repairers.repairer(repairers.Gain(0.5)), synthesizers.Hummer()
    models = serving.assign([serving.Model(bundle, "") for bundle in served])
    return schemathesis.openapi.from_asgi("/openapi.json", api.create(models))


@pytest.mark.parametrize(
    "name",
    ["convert", "detect", "embed", "repair", "speak", "verify", *NAMED],
)
def test_anything_is_answered_as_described(description, name):
    statuses: collections.Counter[int] = collections.Counter()

    @settings(
        max_examples=EXAMPLES,
        deadline=None,
        derandomize=True,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(
        description[f"/{name}"]["POST"].as_strategy(),
        st.sampled_from([voice(), voice()[:60], b""]) | st.binary(max_size=99),
    )
    def ask(case, recording):
        if isinstance(case.body, dict):  # texts stand there where recordings belong
            uploads = {"file": [recording], "a": [recording], "b": [voice()]}
            case.body |= {name: uploads[name] for name in uploads.keys() & case.body.keys()}
        answer = case.call()
        statuses[answer.status_code] += 1
        case.validate_response(answer, checks=CHECKS)

    ask()
    usual = {422} if name in NAMED else {200, 422}
    assert usual <= set(statuses), "some of it can be used, and some not"
