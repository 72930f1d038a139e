"""The bill of materials names what is installed and what ships."""

import importlib.metadata
import json
import pathlib
import runpy

from lin_jax import bundles, checksums

SBOM = pathlib.Path(__file__).parents[1] / "tools/sbom.py"


def test_names_packages_and_weights(capsys):
    assert runpy.run_path(str(SBOM))["main"]() == 0
    bill = json.loads(capsys.readouterr().out)
    assert (bill["bomFormat"], bill["specVersion"]) == ("CycloneDX", "1.6")
    versions = {part["name"]: part["version"] for part in bill["components"]}
    assert versions["jax"] == importlib.metadata.version("jax")
    assert "pytest" not in versions
    weights = {
        part["name"]: part["hashes"][0]["content"]
        for part in bill["components"]
        if part["type"] == "machine-learning-model"
    }
    assert set(bundles.shipped()) <= set(weights)
    for name, digest in weights.items():
        assert digest == checksums.of_file(bundles.PRETRAINED / name / "weights.safetensors")
