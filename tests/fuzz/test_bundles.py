"""Bundles of strangers load or are refused in one line, whatever their settings."""

import random
import shutil

from fuzz.bundles import edited

from lin_jax import bundles, checksums
from lin_jax.errors import BundleError


def test_senseless_settings_are_refused(tmp_path):
    folder = shutil.copytree(bundles.PRETRAINED / "speaker", tmp_path / "speaker")
    described, rng, refused = bundles.describe(folder), random.Random(0), 0
    del described["provenance"]
    for _ in range(150):
        settings, _what = edited(described, rng)
        (folder / "bundle.json").write_text(checksums.to_json(settings))
        try:
            bundles.load(folder)
        except BundleError as error:
            message = str(error)
        else:
            continue
        refused += 1
        assert "\n" not in message
    assert refused > 100
