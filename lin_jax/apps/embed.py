"""Speaker embeddings: `lin embed`, and what the other commands about speakers share with it."""

import dataclasses
from collections.abc import Iterator
from typing import TYPE_CHECKING

from lin_jax import durable
from lin_jax.apps import output_paths
from lin_jax.apps.common import (
    Command,
    complain,
    finish,
    inputs_argument,
    json_argument,
    load_bundle,
    model_argument,
    printable,
    progress,
    recordings,
)
from lin_jax.apps.jobs import Job, example_speech
from lin_jax.errors import AudioError

if TYPE_CHECKING:  # JAX takes half a second, in which a missing file is named
    from lin_jax.bundles import SpeakerEmbedding, Verdict, Verifier

KIND = "verification"


def decision_arguments(parser):
    """Add the arguments of every command that decides whether two voices are one."""
    model_argument(parser, "speaker")
    json_argument(parser)
    chosen = parser.add_mutually_exclusive_group()
    chosen.add_argument(
        "--threshold",
        type=float,
        metavar="SCORE",
        help="normalised score, as the answer has it, from which on two voices are one; by default the bundle's",
    )
    chosen.add_argument(
        "--calibration",
        metavar="FILE.json",
        help="decide by the threshold that `lin calibrate` fitted to recordings of one's own",
    )


def load_verifier(args) -> "Verifier":
    """The bundle that a command was given with `decision_arguments`, calibrated if it was told to.

    Raises:
        BundleError: there is no such verifier.
        ConfigError: the calibration cannot be read, or is for another one.
    """
    from lin_jax.bundles import SpeakerCalibration

    calibration = SpeakerCalibration.load(args.calibration) if args.calibration else None
    bundle = load_bundle(args.model, KIND)
    return calibration.apply(bundle) if calibration else bundle


def _embed_arguments(parser):
    inputs_argument(parser)
    parser.add_argument(
        "--out", required=True, metavar="FILE.npz", help="where to; a file there is replaced"
    )
    model_argument(parser, "speaker")


def _embed(args) -> int:
    """Write the embeddings of recordings to an archive of arrays."""
    output_paths.check_file(args.out)
    paths, failed = recordings(args.inputs)
    if not paths:
        return 2
    import numpy as np

    bundle = load_bundle(args.model, KIND)
    voices = [voice for voice in embed_all(bundle, paths) if voice]
    failed += len(paths) - len(voices)
    if voices:
        with durable.replacing(args.out) as part, part.open("wb") as file:
            np.savez(
                file,
                files=np.array([voice.name for voice in voices]),
                embeddings=np.stack([voice.embedding for voice in voices]),
                seconds=np.array([voice.seconds for voice in voices]),
                speech=np.array([voice.speech for voice in voices]),
                model=np.array(bundle.fingerprint),
            )
    if doubtful := [voice.name for voice in voices if voice.speech < bundle.speech_threshold]:
        counted = f"{len(doubtful)} of {len(voices)}, first {doubtful[0]}"
        complain(f"{counted}, do not sound like speech: see `speech` in {args.out}")
    if voices:
        print(
            f"{printable(args.out)}: embeddings [{len(voices)}, {len(voices[0].embedding)}], files, seconds, speech"
        )
    return finish(len(voices), failed)


def embed_all(bundle, paths) -> "Iterator[SpeakerEmbedding | None]":
    """The embedding of each recording, with a bar; None where there is none, after saying why."""
    with progress(len(paths), "file") as bar:
        for voice in bundle.embed_all(paths):
            bar.update()
            if isinstance(voice, AudioError):
                complain(voice)
                voice = None
            yield voice


def as_json(verdict: "Verdict") -> dict:
    """What `--json` and the HTTP API print of a verdict."""
    return {
        name: round(value, 6) if isinstance(value, float) else value
        for name, value in dataclasses.asdict(verdict).items()
        if name != "threshold_probability"
    }


@dataclasses.dataclass(frozen=True)
class EmbedAnswer:
    """What the HTTP API answers of a recording.

    Attributes:
        file: its name.
        embedding: unit vector [E]; the product of two is their score.
        seconds: of sound.
        speech: probability that it is speech.
        model: which embeddings must share to be compared.
    """

    file: str
    embedding: list[float]
    seconds: float
    speech: float
    model: str


def embed(bundle, path: str) -> "SpeakerEmbedding":
    """The embedding of a recording.

    Raises:
        AudioError: it cannot be used.
    """
    (voice,) = bundle.embed_all([path])
    if isinstance(voice, AudioError):
        raise voice
    return voice


def _endpoint(router, model):
    from lin_jax.apps import api

    async def answer(path, name):
        voice = await model.run(embed, path, recordings=[path])
        numbers = voice.embedding.tolist(), voice.seconds, voice.speech
        return EmbedAnswer(name, *numbers, model.bundle.fingerprint)

    description = "The voice of each recording as a vector, near for one speaker and far for two."
    api.answer_recordings(router, model, "embed", EmbedAnswer, description, answer)


JOB = Job(
    name="embed",
    title="Embed",
    kind=KIND,
    bundle="speaker",
    endpoint=_endpoint,
    tab=None,
    requests="curl -F file=@a.wav localhost:7860/v1/embed                    the vector of a voice",
    warm_up=lambda bundle, seconds: bundle.embed(*example_speech(bundle, seconds)),
    commands=(
        Command(
            name="embed",
            summary="turn voices into vectors, near for one speaker and far for two",
            teach="""\
examples:
  lin embed recordings/ --out voices.npz          every recording in a folder and below it, in batches
  lin embed a.wav b.wav --out voices.npz

In Python, `numpy.load("voices.npz")` has files [n], embeddings [n, E] of length one, seconds of sound [n], speech [n]
(the probability that it is speech) and model, which embeddings must share to be compared: their product is the score.
Exit code: 0 all done, 1 some could not be used, 2 none could.""",
            add_arguments=_embed_arguments,
            run=_embed,
        ),
    ),
)
