"""Export bundles by `jax.export`: pure functions of waveforms of any length, without lin_jax.

A folder holds

export.json       the bundle's settings, and the inputs of each function
NAME.jaxexport    a function with its weights, as serialised StableHLO
voices.npz        of a synthesizer, its voices
loader.py         `lin_jax.bundles.exported`, which needs neither lin_jax nor Flax
levels.py         `lin_jax.audio.levels`, which trims and levels recordings
diagnosis.py      of a verifier, `lin_jax.audio.diagnosis`, which tells what came by telephone
watermark.py      of a synthesizer, `lin_jax.audio.watermark`, by which the loader marks its speech
README.md         what goes in and what comes out
"""

import contextlib
import json
import os
import pathlib
import shutil
import tempfile
from collections.abc import Iterator

import numpy as np

from lin_jax import durable
from lin_jax.audio import diagnosis, levels, watermark
from lin_jax.audio.frontend_config import FrontendConfig
from lin_jax.bundles.base import Bundle, Function
from lin_jax.errors import ConfigError

PLATFORMS = ("cpu", "cuda", "tpu")
# What the copied modules take of lin_jax, and what takes its place.
STANDALONE = {
    "from lin_jax.errors import AudioError": "AudioError = ValueError",
    "from lin_jax.audio.levels import": "from levels import",
}
# Fields of a voice, and the inputs that they become.
VOICES = {"voices": "voice", "ltas": "ltas", "ltas_corrections": "ltas_correction"}


def export(bundle: Bundle, folder) -> pathlib.Path:
    """Write a bundle as a folder that needs no lin_jax, whole or not at all.

    Args:
        bundle: of any kind.
        folder: where to; it must not be there, or be empty.

    Returns:
        The folder.

    Raises:
        BundleError: the weights do not fit the network.
        ConfigError: the folder holds something, cannot be written, or flatbuffers is missing.
    """
    from lin_jax.bundles import exported

    with new_folder(folder) as part:
        functions = bundle.functions()
        for name, function in functions.items():
            (part / f"{name}.jaxexport").write_bytes(_serialised(bundle, function))
        inputs = {name: {"inputs": function.inputs} for name, function in functions.items()}
        describe(bundle, part, functions=inputs)
        (part / "README.md").write_text(_readme(bundle, functions), encoding="utf-8")
        shutil.copy(exported.__file__, part / "loader.py")
        copy_module(levels, part)
        if bundle.task == "verification":
            copy_module(diagnosis, part)
        if arrays := _voices(bundle):
            np.savez(part / "voices.npz", **arrays)
            copy_module(watermark, part)
    return pathlib.Path(folder)


@contextlib.contextmanager
def new_folder(folder) -> Iterator[pathlib.Path]:
    """A place to write to, which becomes the folder if no error ends the block.

    Raises:
        ConfigError: the folder holds something, or cannot be written.
    """
    folder = pathlib.Path(folder)
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise ConfigError(f"{folder}: holds something already; choose another place")
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder.parent, prefix=".export-") as part:
            part = pathlib.Path(part) / folder.name
            part.mkdir()
            yield part
            durable.sync(part)
            if folder.exists():
                os.rmdir(folder)
            durable.replace(part, folder)
    except OSError as error:
        raise ConfigError(
            f"{folder}: cannot be written ({error.strerror}); choose another place"
        ) from None


def copy_module(module, folder: pathlib.Path):
    """Copy a module into a folder, so that it does without lin_jax."""
    path = pathlib.Path(module.__file__)
    source = path.read_text(encoding="utf-8")
    for needed, instead in STANDALONE.items():
        source = source.replace(needed, instead)
    (folder / path.name).write_text(source, encoding="utf-8")


def _serialised(bundle: Bundle, function: Function) -> bytes:
    """A function with its weights as bytes."""
    import jax
    from jax import export as jax_export

    letters = sorted(
        {axis for _, shape in function.inputs.values() for axis in shape if axis.isalpha()}
    )
    scope = jax_export.SymbolicScope()
    symbols = dict(
        zip(letters, jax_export.symbolic_shape(", ".join(letters), scope=scope), strict=True)
    )
    inputs = {}
    for name, (dtype, shape) in function.inputs.items():
        axes = [axis.strip() for axis in shape.split(",")] if shape else []
        sizes = tuple(symbols[axis] if axis in symbols else int(axis) for axis in axes)
        inputs[name] = jax.ShapeDtypeStruct(sizes, np.dtype(dtype))
    with bundle.weights_fit():
        exporter = jax_export.export(
            jax.jit(lambda arrays: function.call(**arrays)), platforms=PLATFORMS
        )
        exported = exporter(inputs)
    try:
        return exported.serialize()
    except ImportError:
        raise ConfigError(
            "exporting needs one more package: pip install 'lin_jax[export]'"
        ) from None


def describe(bundle: Bundle, folder: pathlib.Path, **more):
    """Write export.json: names and settings of a bundle, and what else there is to say."""
    description = {
        "name": bundle.name,
        "task": bundle.task,
        "frontend": bundle.frontend.to_dict(),
        **bundle.settings(),
        **more,
    }
    text = json.dumps(description, indent=1, ensure_ascii=False)
    (folder / "export.json").write_text(text, encoding="utf-8")


def _voices(bundle: Bundle) -> dict[str, np.ndarray]:
    """The voices of a synthesizer, by the names of the inputs that take them."""
    arrays = ((name, getattr(bundle, field, None)) for field, name in VOICES.items())
    return {name: np.float32(array) for name, array in arrays if array is not None}


def prepared(samples: str, frontend: FrontendConfig, *, trim: bool = True) -> str:
    """The Python expression by which the functions of `levels` prepare samples for a front end."""
    if trim and frontend.trim_db is not None:
        samples = f"levels.trim_silence({samples}, {frontend.trim_db:g})"
    if frontend.level != "none":
        samples = (
            f'levels.level({samples}, target_db={frontend.level_db:g}, kind="{frontend.level}")'
        )
    return samples


def _readme(bundle: Bundle, functions: dict[str, Function]) -> str:
    """What goes in and what comes out, in Markdown."""
    frontend = bundle.frontend
    samples = prepared("samples", frontend, trim=bundle.task != "repair")
    name, function = next(iter(functions.items()))
    examples = {"waveform": "samples[None]", "length": "[len(samples)]"}
    arguments = ", ".join(f"{key}={examples.get(key, key)}" for key in function.inputs)
    takes_sound = any("waveform" in function.inputs for function in functions.values())
    verifies = bundle.task == "verification"
    lines = [
        f"# {bundle.name}: a {bundle.task} bundle of lin_jax, exported",
        "",
        "It needs Python with `jax`, `numpy` and `flatbuffers`; lin_jax it does not need. Batch b "
        "and all sizes that are letters are free, within one call those of one letter agree. "
        "Each new shape is compiled once; padding changes nothing, so pad to a few lengths.",
        "",
        "```python",
        f"import {'diagnosis, ' if verifies else ''}levels, loader  # of this folder",
        "",
        'bundle = loader.load(".")',
        *(
            [f"samples = {samples}  # [n] float32, mono, {frontend.sample_rate} Hz"]
            if takes_sound
            else []
        ),
        f'outputs = bundle("{name}", {arguments})',
        *(
            [
                f"meter = diagnosis.Meter({frontend.sample_rate})",
                "meter.update(samples[:, None])  # each window of a recording",
                "narrow = meter.diagnosis().narrow  # for `compare`",
            ]
            if verifies
            else []
        ),
        "```",
        "",
    ]
    for name, function in functions.items():
        shapes = (f"`{key}` {dtype} [{shape}]" for key, (dtype, shape) in function.inputs.items())
        lines += [f"## {name}", "", f"From {', '.join(shapes)}: {function.teach}", ""]
    if _voices(bundle):
        lines += [
            "The speech is generated, and the loader marks it with the watermark of lin_jax, as the "
            "law of the EU wants it; say so where you publish it, and use no voice without consent.",
            "",
        ]
    lines += [
        "Reading files, resampling, and cutting long recordings into windows are left to you; "
        "export.json has the settings, and the licence is that of the bundle.",
        "",
    ]
    return "\n".join(lines)
