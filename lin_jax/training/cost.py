"""What a training step costs: arithmetic, the share of the chip's peak that it reaches, memory."""

import math
import time
from typing import Any

import jax

# Dense bfloat16 FLOP/s, from the makers' data sheets, by what the name of a device contains; the
# first that fits counts.
PEAK_FLOPS = {
    "B200": 2250e12,
    "H200": 989e12,
    "H100 PCIe": 756e12,
    "H100": 989e12,
    "A100": 312e12,
    "A10": 125e12,
    "L40S": 362e12,
    "L4": 121e12,
    "V100": 125e12,
    "T4": 65e12,
    "TPU v6 lite": 918e12,
    "TPU v5 lite": 197e12,
    "TPU v5": 459e12,
    "TPU v4": 275e12,
    "TPU v3": 123e12,
}


def peak_flops(device_kind: str) -> float | None:
    """Bfloat16 FLOP/s that a chip can reach at most; None if it is not in the table."""
    fitting = (peak for name, peak in PEAK_FLOPS.items() if name in device_kind)
    return next(fitting, None)


def flops_per_step(jaxpr: Any) -> float:
    """Floating-point operations of one step of `parallel.compile_steps`, over all devices.

    Counted are products of matrices and convolutions, a multiplication and an addition as two, and
    every turn of an inner loop of known length, of which XLA's own analysis counts one.

    Args:
        jaxpr: that of `train_steps.trace(…)`.
    """
    return _flops(jaxpr.jaxpr, outermost=True)


def _flops(jaxpr, outermost=False):
    total = 0.0
    for equation in jaxpr.eqns:
        name, params = equation.primitive.name, equation.params
        variables = *equation.invars, *equation.outvars
        shapes: list[tuple[int, ...]] = [getattr(v.aval, "shape", ()) for v in variables]
        if name == "dot_general":
            (contracted, _), _ = params["dimension_numbers"]
            total += 2.0 * math.prod(shapes[-1]) * math.prod(shapes[0][i] for i in contracted)
        elif name == "conv_general_dilated":
            out_features = params["dimension_numbers"].rhs_spec[0]
            kernel = math.prod(shapes[1]) / shapes[1][out_features]
            total += 2.0 * math.prod(shapes[-1]) * kernel
        elif name in ("rnn_fwd", "rnn_bwd"):  # an LSTM of cuDNN; back, each product is two
            frames, products = (shapes[0], 1) if name == "rnn_fwd" else (shapes[3], 2)
            D, H, directions = frames[-1], params["hidden_size"], 1 + params["bidirectional"]
            total += products * 2.0 * math.prod(frames[:-1]) * directions * 4 * H * (D + H)
        elif name == "cond":
            total += max(_flops(branch.jaxpr) for branch in params["branches"])
        else:
            loop = name in ("scan", "while")
            times = params["length"] if name == "scan" and not outermost else 1
            times *= params["mesh"].size if name == "shard_map" else 1
            for inner in jax.tree.leaves(
                list(params.values()), is_leaf=lambda value: _inner(value) is not None
            ):
                if (inner := _inner(inner)) is not None:
                    total += times * _flops(inner, outermost and not loop)
    return total


def _inner(value):
    """The program in a parameter of an operation, if it is one."""
    return value if hasattr(value, "eqns") else getattr(value, "jaxpr", None)


def compile_only(train_steps: Any, *arguments: Any) -> str:
    """Compile a call of `parallel.compile_steps` without running it.

    Args:
        train_steps: what it gives.
        arguments: of the call; shapes with their shardings will do.

    Returns:
        A line: FLOPs of a step over all devices, memory on each of them, seconds of compilation.
    """
    start = time.perf_counter()
    traced = train_steps.trace(*arguments)
    memory = traced.lower().compile().memory_analysis()
    seconds = time.perf_counter() - start
    held = memory.argument_size_in_bytes + memory.output_size_in_bytes - memory.alias_size_in_bytes
    return (
        f"compiled for {jax.device_count()} × {jax.devices()[0].device_kind} in {seconds:.1f} s: "
        f"{flops_per_step(traced.jaxpr) / 1e6:,.3f} MFLOP a step; on each device "
        f"{(held + memory.temp_size_in_bytes) / 1e6:,.3f} MB, of which {held / 1e6:,.3f} MB are "
        "state and batches"
    )


def peak_memory() -> int | None:
    """The most bytes that were in use on this process's first device; None if it does not tell."""
    stats = jax.local_devices()[0].memory_stats() or {}
    return stats.get("peak_bytes_in_use")
