"""Use an exported bundle: this file needs JAX, NumPy and flatbuffers, and nothing of lin_jax.

A folder that `lin export` wrote holds it as loader.py, beside what each function is compiled of.
"""

import importlib.util
import json
import pathlib
import struct

import jax
import numpy as np
from jax import export


class Exported:
    """An exported bundle.

    Attributes:
        description: what the folder says of it: its settings, and its functions with their inputs.
        arrays: what else it takes, by name, such as the voices of a synthesizer.
    """

    def __init__(self, folder):
        """Read a folder; the functions are compiled when they are first used.

        Args:
            folder: that `lin export` wrote.

        Raises:
            ValueError: it holds no exported bundle, or a damaged one.
        """
        folder = pathlib.Path(folder)
        try:
            self.description = json.loads((folder / "export.json").read_text(encoding="utf-8"))
            self._functions = {
                name: jax.jit(export.deserialize((folder / f"{name}.jaxexport").read_bytes()).call)
                for name in self.description["functions"]
            }
            self.arrays, self._watermark = {}, None
            if self.description["task"] == "synthesis":
                self.arrays = dict(np.load(folder / "voices.npz"))
                self._watermark = _module(folder / "watermark.py")
        except FileNotFoundError as error:
            raise ValueError(f"{error.filename}: not there; export the bundle again") from None
        except (OSError, ValueError, KeyError, TypeError, struct.error) as error:
            reason = str(error).splitlines()[0]
            raise ValueError(f"{folder}: damaged ({reason}); export the bundle again") from None

    def __call__(self, function: str, **inputs) -> dict[str, np.ndarray]:
        """What a function gives.

        Args:
            function: its name, such as "classify".
            **inputs: arrays of the shapes that the description names; those of one letter agree.

        Returns:
            Arrays by name.

        Raises:
            ValueError: another function, other inputs, or other shapes.
        """
        known = self.description["functions"]
        if function not in known:
            raise ValueError(
                f"{function}: not a function of this bundle; it has {', '.join(known)}"
            )
        expected = known[function]["inputs"]
        if set(inputs) != set(expected):
            raise ValueError(f"{function}: takes {', '.join(expected)}; got {', '.join(inputs)}")
        sizes: dict[str, int] = {}
        arrays = {}
        for name, (dtype, shape) in expected.items():
            array = arrays[name] = np.asarray(inputs[name], dtype)
            axes = [axis.strip() for axis in shape.split(",")] if shape else []
            fits = array.ndim == len(axes)
            for axis, size in zip(axes, array.shape, strict=False):
                wanted = int(axis) if axis.isdigit() else sizes.setdefault(axis, size)
                fits = fits and size == wanted
            if not fits:
                raise ValueError(f"{name}: is {list(array.shape)} where [{shape}] is taken")
        outputs = self._functions[function](arrays)
        outputs = {name: np.array(array) for name, array in outputs.items()}
        if self._watermark and function == "vocode":
            for waveform, length in zip(outputs["waveform"], outputs["length"], strict=True):
                rate = self.description["frontend"]["sample_rate"]
                waveform[:length] = self._watermark.mark(waveform[:length], rate)
        return outputs


def load(folder) -> Exported:
    """The exported bundle of a folder; see `Exported`."""
    return Exported(folder)


def _module(path):
    """The module of a file."""
    if not path.exists():
        raise FileNotFoundError(2, "not there", str(path))
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
