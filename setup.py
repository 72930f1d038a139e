"""Packaging of lin_jax; every lower bound is the oldest version that was tried."""

import pathlib
import re

from setuptools import find_packages, setup

HERE = pathlib.Path(__file__).parent
VERSION = re.search(r'__version__ = "(.+)"', (HERE / "lin_jax/__init__.py").read_text()).group(1)

REQUIRES = [
    "jax>=0.10.2",  # AxisType meshes, jax_num_cpu_devices
    "flax>=0.12.8",  # Linen RNN and BatchNorm as used here
    "safetensors>=0.8",  # bundles without pickle
    "numpy>=2.0",
    "scipy>=1.14",  # DCT and statistics on the host
    "soundfile>=0.14",  # MP3 and Opus decoding in the wheel
    "soxr>=1.0",  # high-quality resampling
    "av>=14",  # FFmpeg in the wheel: MP3, AAC, WMA, WebM, video
    "tqdm>=4.66",
]  # what it takes to use a trained model: Flax brings Optax and Orbax along

MATPLOTLIB = "matplotlib>=3.9"

EXTRAS = {
    "train": [  # data_pipelines, lin_jax.training and the experiments
        "optax>=0.2.8",  # reduce_on_plateau inside jit
        "orbax-checkpoint>=0.12.8",  # Composite items beside a Grain iterator
        "grain>=0.2.18",  # grain.checkpoint beside Orbax
        "tensorflow-datasets>=4.9.10",  # ArrayRecord without TensorFlow
        "clu>=0.0.12",  # parameter overview
        "absl-py>=2.5",  # flags of the experiments
        "ml-collections>=1.0",  # typed overrides of dataclass configs
        "tensorboardX>=2.6.5",  # event files without TensorFlow
        MATPLOTLIB,
    ],
    "tts": [
        "espeakng-loader>=0.2.4",  # GPL-3, for phonemes and the synthetic corpus: optional, never bundled
        "num2words>=0.5.14",  # numbers in a text
    ],
    "eval": [
        "librosa>=0.11",
        "scikit-learn>=1.5",
        "pystoi>=0.4.1",
    ],  # independent references of tests and benchmarks
    "serve": [  # the page and the HTTP API of `lin serve`
        "fastapi>=0.165",
        "uvicorn>=0.54",
        "gradio>=6.31",
        "python-multipart>=0.0.34",  # uploads
        "prometheus-client>=0.26",  # /v1/metrics
        MATPLOTLIB,
    ],
    # Preparation on many machines. It holds protobuf below 7, which TFDS takes as well.
    "beam": ["apache-beam>=2.77"],
    "listen": ["sounddevice>=0.5"],  # the microphone, for `lin listen`
    "c2pa": ["c2pa-python>=0.38"],  # signed provenance of generated speech
    "export": ["flatbuffers>=25.9"],  # what jax.export writes
    # What jax2onnx needs, which itself asks for an older Orbax: pip install --no-deps jax2onnx
    "onnx": ["onnx>=1.20.1", "onnx-ir>=0.2.1", "onnxruntime>=1.24.1"],
    # JAX for an accelerator, as JAX itself names it.
    **{name: [f"jax[{name}]"] for name in ("cuda12", "cuda13", "tpu")},
}
EXTRAS["demo"] = [*EXTRAS["train"], *EXTRAS["tts"]]
EXTRAS["docs"] = ["pdoc>=16"]
EXTRAS["dev"] = [
    *EXTRAS["train"],
    *EXTRAS["tts"],
    *EXTRAS["eval"],
    *EXTRAS["serve"],
    *EXTRAS["export"],
    "httpx2>=2.16",  # FastAPI's test client
    "pytest>=8",
    "hypothesis>=6.100",
    "schemathesis>=4.32",  # the HTTP API by its description
    "pytest-xdist>=3.6",
    "ruff>=0.14",
    "mypy>=1.18",
]
# Built from C source, or of a source that is, or with models of 30 MB: no test may need them.
EXTRAS["eval"] = [
    *EXTRAS["eval"],
    "pesq>=0.0.4",
    "mel-cepstral-distance>=0.0.4",
    "pocketsphinx>=5.1",  # its English models in the wheel; word error rates
]

setup(
    name="lin_jax",
    version=VERSION,
    description="A speech toolkit in JAX and Flax: text-to-speech, voice conversion, restoration, "
    "emotion recognition, speaker verification, gender recognition",
    long_description=(HERE / "README.md").read_text(encoding="utf-8"),
    long_description_content_type="text/markdown",
    # The code, and weights among which some are derived from RAVDESS.
    license_expression="Apache-2.0 AND CC-BY-NC-SA-4.0",
    license_files=["LICENSE"],
    keywords="speech audio jax flax text-to-speech voice-conversion voice-cloning "
    "speech-enhancement emotion-recognition speaker-verification",
    classifiers=[
        "Development Status :: 4 - Beta",
        "Environment :: Console",
        "Intended Audience :: Science/Research",
        "Operating System :: POSIX :: Linux",
        "Programming Language :: Python :: 3",
        "Topic :: Multimedia :: Sound/Audio :: Speech",
        "Topic :: Scientific/Engineering :: Artificial Intelligence",
    ],
    python_requires=">=3.11",
    packages=find_packages(include=["lin_jax*", "data_pipelines*", "experiments*"]),
    package_data={
        "lin_jax": ["py.typed", "apps/examples/*", "pretrained/*/*", "pretrained/*/fused/*"],
    },
    install_requires=REQUIRES,
    extras_require=EXTRAS,
    entry_points={"console_scripts": ["lin = lin_jax.apps.cli:main"]},
)
