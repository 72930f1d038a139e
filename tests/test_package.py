"""The package as a whole: what importing it costs, and which way its imports flow."""

import subprocess
import sys


def test_import_is_light():
    """Importing the library pulls in nothing that only training, plotting or reading files needs."""
    heavy = {"librosa", "grain", "clu", "tensorflow_datasets", "matplotlib", "soundfile", "orbax"}
    code = f"import sys, lin_jax; print(sorted({heavy!r} & set(sys.modules)))"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert loaded.strip() == "[]"
