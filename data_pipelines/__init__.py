"""Everything from a folder of audio to a batch; it takes `pip install 'lin_jax[train]'`."""

import importlib.util

if importlib.util.find_spec("grain") is None:
    raise ModuleNotFoundError(
        "grain is not installed, nor what else training takes: pip install 'lin_jax[train]'",
        name="grain",
    )
