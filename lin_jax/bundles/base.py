"""What every kind of bundle has and does.

Shape letters: B windows, N samples.
"""

import contextlib
import dataclasses
import hashlib
import os
from collections.abc import Callable
from typing import Any, ClassVar

import numpy as np

from lin_jax import cancellation, compilation
from lin_jax.errors import BundleError

# Windows go through the network in batches of these sizes and no other, so that nothing else is
# ever compiled.
BATCHES = (1, 2, 8)


@dataclasses.dataclass(frozen=True)
class Function:
    """A pure function of a bundle that can be exported, of arrays by name to arrays by name.

    Attributes:
        call: the function, of keyword arguments.
        inputs: the type and shape of each, such as ("float32", "b, n"); sizes that are letters are
            free.
        teach: what it does, and what its inputs and outputs are, in Markdown.
    """

    call: Callable[..., dict[str, Any]]
    inputs: dict[str, tuple[str, str]]
    teach: str


WAVEFORM = {"waveform": ("float32", "b, n"), "length": ("int32", "b")}


@dataclasses.dataclass(eq=False, repr=False)
class Bundle:
    """A trained network with all it takes to use it; each kind adds what it answers with.

    Attributes:
        name: short name, such as "emotion".
        model: Linen network.
        frontend: the `FrontendConfig` it was trained with.
        variables: its Flax collections.
    """

    name: str
    model: Any
    frontend: Any
    variables: dict

    task: ClassVar[str]  # what kind it is, in bundle.json
    arrays: ClassVar[tuple[str, ...]] = ()  # attributes kept with the weights
    rounded: ClassVar[
        tuple[str, ...]
    ] = ()  # those of them that are kept as roughly as the network's parameters
    optional_arrays: ClassVar[tuple[str, ...]] = ()  # likewise, but None where a bundle has none
    concurrent: ClassVar[bool] = False  # whether threads may use one at once
    parts: ClassVar[tuple[str, ...]] = ()  # attributes that name other bundles, which it uses
    network: ClassVar[str] = ""  # of a kind within a kind: the class of network that it is for
    fused = None  # another bundle of the kind, where two answer together
    # `lin_jax.bundles.load`, for a bundle that uses others; it hands itself in.
    load: ClassVar[Callable[[Any], "Bundle"]]

    def __repr__(self) -> str:
        """One line: kind, name, network and how large it is."""
        sizes = (array.size for array in _leaves(self.variables.get("params", {})))
        fused = f", fused with {self.fused.name}" if self.fused else ""
        network = type(self.model).__name__
        return f"{type(self).__name__}({self.name}: {network}, {sum(sizes):,} parameters{fused})"

    def settings(self) -> dict:
        """What bundle.json says of this kind beyond what it says of all."""
        raise NotImplementedError

    @classmethod
    def from_settings(cls, settings: dict, **common) -> "Bundle":
        """The bundle that `settings` came from; KeyError if one is missing."""
        raise NotImplementedError

    def functions(self) -> dict[str, Function]:
        """What `lin export` exports of this kind, by name."""
        raise NotImplementedError

    @classmethod
    def kind_for(cls, model) -> "type[Bundle]":
        """The kind of a bundle with such a network: this one, or one within it."""
        kinds = {kind.network: kind for kind in cls.__subclasses__()}
        return kinds.get(type(model).__name__, cls)

    def rate(self, source, sample_rate: int | None) -> int:
        """Rate in Hz at which a source arrives: a path is read at the front end's, a waveform must tell its own.

        Raises:
            AudioError: the source is no waveform, or the rate none of sound.
        """
        from lin_jax.audio import files

        if is_path(source):
            return self.frontend.sample_rate
        files.check_type(source)
        return files.check_rate(sample_rate)

    @contextlib.contextmanager
    def weights_fit(self):
        """Where the network is applied: weights of another network become a BundleError.

        The first use prints that it compiles, and work that was given up ends.
        """
        from flax.errors import FlaxError

        cancellation.check()
        try:
            with compilation.announced():
                yield
        except (FlaxError, TypeError) as error:
            reason = str(error).splitlines()[0]
            raise BundleError(
                f"{self.name}: weights do not fit the network ({reason}); save it again"
            ) from None


def weights_digest(settings: str, tree):
    """The SHA-256 so far, which may be updated, of settings and of arrays in a tree, in float32."""
    import jax

    digest = hashlib.sha256(settings.encode())
    for leaf in jax.tree.leaves(tree):
        digest.update(np.ascontiguousarray(leaf, np.float32))
    return digest


def on_device(tree):
    """Arrays on the device, also where it is first asked for them within a trace."""
    import jax

    with jax.ensure_compile_time_eval():
        return jax.device_put(tree)


def _leaves(tree) -> list:
    """The arrays of nested dicts."""
    if not isinstance(tree, dict):
        return [tree]
    return [leaf for inner in tree.values() for leaf in _leaves(inner)]


def padded(windows: list[np.ndarray], size: int, batch: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Waveforms (or symbols) of at most `size` samples as a batch: [B, size] of their type, and lengths [B].

    B is `batch`, or else the smallest of the `BATCHES` that holds them.
    """
    B = batch or next(B for B in BATCHES if len(windows) <= B)
    waveform, length = np.zeros((B, size), windows[0].dtype), np.full(B, size, np.int32)
    for i, samples in enumerate(windows):
        waveform[i, : len(samples)], length[i] = samples, len(samples)
    return waveform, length


def is_path(source) -> bool:
    """Whether a source is the path of a file, and not samples."""
    return isinstance(source, str | os.PathLike)
