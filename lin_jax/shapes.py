"""Checks of shapes and types that cost nothing under `jax.jit`: they look at no value."""

from typing import Any

import jax.numpy as jnp

from lin_jax.errors import ShapeError


def check_shapes(**arrays: tuple[Any, str]) -> None:
    """Refuse arrays whose shapes do not fit together.

    Args:
        **arrays: by the name of each argument the array, or None, and the letters of its axes with
            spaces between them, such as "B T M"; one letter stands for one size in all of them, and
            a leading "..." for any axes, the same ones in all.

    Raises:
        ShapeError: names the first array that does not fit, and all shapes.
    """
    sizes: dict[str, Any] = {}
    given = {name: pair for name, pair in arrays.items() if pair[0] is not None}
    for name, (array, letters) in given.items():
        shape: list[Any] = list(jnp.shape(array))
        axes = letters.split()
        batch = len(shape) - len(axes) + 1
        if axes[0] == "..." and batch >= 0:
            shape[:batch] = [tuple(shape[:batch])]
        fits = len(shape) == len(axes)
        if not fits or any(
            sizes.setdefault(axis, size) != size for axis, size in zip(axes, shape, strict=True)
        ):
            shapes = ", ".join(
                f"{other} {list(jnp.shape(array))} as [{', '.join(letters.split())}]"
                for other, (array, letters) in given.items()
            )
            raise ShapeError(f"{name} has a shape that does not fit: {shapes}")


def check_floats(**arrays: Any) -> None:
    """Refuse arrays that are not floating-point numbers, such as samples as integers.

    Raises:
        ShapeError: names the array and its type.
    """
    for name, array in arrays.items():
        if not jnp.issubdtype(jnp.result_type(array), jnp.floating):
            raise ShapeError(
                f"{name} is {jnp.result_type(array)}: give floats; of 16-bit samples, divided by "
                "32768"
            )
