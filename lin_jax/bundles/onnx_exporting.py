"""Export classifiers and verifiers as ONNX: networks with their front end, for clips up to a length.

A folder holds

NAME.onnx     a function with its weights: a clip of some samples, zero past its end, and its length
export.json   names and settings
levels.py     `lin_jax.audio.levels`, which trims and levels recordings
README.md     what goes in and what comes out

A function is traced to JAX's primitives first, which jax2onnx converts: what it puts in the place of
NumPy's functions does not trace, and symbolic sizes stop it, so that a batch is one clip of one length.
"""

import contextvars
import pathlib

import numpy as np

from lin_jax.audio import functionals, levels
from lin_jax.bundles import exporting, verifier
from lin_jax.bundles.base import WAVEFORM, Bundle, Function
from lin_jax.errors import ConfigError

FUNCTIONS = {"classification": "classify", "verification": "embed"}


def export(bundle: Bundle, folder) -> pathlib.Path:
    """Write a classifier or a verifier as ONNX, whole or not at all.

    Args:
        bundle: the classifier or verifier.
        folder: where to; it must not be there, or be empty.

    Returns:
        The folder.

    Raises:
        ConfigError: a bundle of another kind, a package is missing, or as for `exporting.export`.
    """
    if bundle.task not in FUNCTIONS:
        raise ConfigError(
            f"{bundle.name}: a {bundle.task} bundle; ONNX is for classifiers and verifiers: "
            "export it without --format"
        )
    name = FUNCTIONS[bundle.task]
    function, rate = bundle.functions()[name], bundle.frontend.sample_rate
    samples = round(getattr(bundle, "window_seconds", verifier.LENGTHS[-1]) * rate)
    with exporting.new_folder(folder) as part:
        outputs = _convert(bundle, function, samples, part / f"{name}.onnx")
        exporting.describe(bundle, part, samples=samples, outputs=outputs)
        readme = _readme(bundle, name, samples, outputs, function)
        (part / "README.md").write_text(readme, encoding="utf-8")
        exporting.copy_module(levels, part)
    return pathlib.Path(folder)


def _convert(bundle: Bundle, function: Function, samples: int, path: pathlib.Path) -> list[str]:
    """Write a function of one clip of some samples; returns the names of its outputs."""
    import jax
    from jax.extend.core import jaxpr_as_fun

    try:
        import onnxruntime
        from jax2onnx import to_onnx
    except ImportError:
        raise ConfigError(
            "ONNX needs more packages: pip install 'lin_jax[onnx]', and then, since it asks for an "
            "older Orbax, pip install --no-deps jax2onnx"
        ) from None
    sizes = {"waveform": (1, samples), "length": (1,)}
    inputs = [
        jax.ShapeDtypeStruct(sizes[name], np.dtype(dtype)) for name, (dtype, _) in WAVEFORM.items()
    ]
    trace = jax.make_jaxpr(
        lambda waveform, length: function.call(waveform=waveform, length=length), return_shape=True
    )
    context = contextvars.copy_context()
    context.run(functionals.FOR_ONNX.set, True)
    jax.clear_caches()  # of what was traced before
    with bundle.weights_fit():
        traced, shapes = context.run(trace, *inputs)
    primitives = jaxpr_as_fun(traced)
    names = sorted(shapes)  # as JAX orders the leaves of a dictionary
    model = to_onnx(
        lambda *arrays: tuple(primitives(*arrays)),
        inputs,
        input_names=list(WAVEFORM),
        output_names=names,
        return_mode="proto",
    )
    path.write_bytes(model.SerializeToString())  # its own files leave large weights to another
    try:
        onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    except Exception as error:  # of onnxruntime's own kinds
        raise ConfigError(
            f"{bundle.name}: holds what ONNX does not ({str(error).splitlines()[0][:200]}); "
            "export it without --format"
        ) from None
    return names


def _readme(bundle: Bundle, name: str, samples: int, outputs: list[str], function: Function) -> str:
    """What goes in and what comes out, in Markdown."""
    trimmed = exporting.prepared("samples", bundle.frontend)
    rate = bundle.frontend.sample_rate
    return f"""# {bundle.name}: a {bundle.task} bundle of lin_jax as ONNX

It needs Python with `onnxruntime` and `numpy`, or another runtime; lin_jax and JAX it does not need. A call takes one
clip of {samples / rate:g} s at most; zeros past its end change nothing.

```python
import levels, numpy, onnxruntime  # levels of this folder

session = onnxruntime.InferenceSession("{name}.onnx")
samples = {trimmed}  # [n] float32, mono, {rate} Hz
waveform = numpy.zeros((1, {samples}), "float32")
waveform[0, : len(samples)] = samples
length = numpy.array([len(samples)], "int32")
{", ".join(outputs)}{"," if len(outputs) == 1 else ""} = session.run(None, {{"waveform": waveform, "length": length}})
```

From `waveform` float32 [1, {samples}] and `length` int32 [1]: {function.teach}

Reading files, resampling, and cutting long recordings into windows are left to you; export.json has the settings, and
the licence is that of the bundle.
"""
