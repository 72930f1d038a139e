"""The command that exports a bundle for use without lin_jax: `lin export`."""

import argparse

import lin_jax
from lin_jax.apps.common import Command


def _arguments(parser: argparse.ArgumentParser):
    parser.add_argument("bundle", metavar="BUNDLE", help="name of one that ships, or a folder")
    parser.add_argument("folder", metavar="FOLDER", help="where to; new, or empty")
    parser.add_argument(
        "--format",
        choices=("jax", "onnx"),
        default="jax",
        help="onnx for classifiers and verifiers (default jax)",
    )


def _export(args) -> int:
    """Write the folder and name it."""
    import jax

    from lin_jax.bundles import exporting, onnx_exporting

    # On a GPU, kernels of that GPU alone would get into what is to run everywhere.
    jax.config.update("jax_platforms", "cpu")
    export = onnx_exporting.export if args.format == "onnx" else exporting.export
    folder = export(lin_jax.load(args.bundle), args.folder)
    size = sum(path.stat().st_size for path in folder.iterdir())
    print(f"{folder}  {size / 1e6:.1f} MB; its README.md says what goes in and out")
    return 0


COMMAND = Command(
    name="export",
    summary="export a bundle for programs that have JAX and not lin_jax",
    teach="""\
examples:
  lin export emotion exported/emotion
  lin export runs/mood exported/mood      a bundle of your own
  lin export speaker_encoder exported/encoder --format onnx

A folder with the functions of the bundle by jax.export, weights within, for any batch and length on CPU, CUDA and TPU;
loader.py, which needs jax, numpy and flatbuffers; and a README that says what goes in and what comes out.
Exit code: 0 it is exported, 2 it could not be.""",
    add_arguments=_arguments,
    run=_export,
)
