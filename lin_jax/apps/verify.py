"""Speaker verification: `lin verify`."""

import dataclasses
import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from lin_jax.apps import calibrate, embed, serving
from lin_jax.apps.common import (
    Command,
    finish,
    inputs_argument,
    printable,
    recordings,
)
from lin_jax.apps.jobs import Job, example_speech
from lin_jax.errors import AudioError, ConfigError

if TYPE_CHECKING:  # JAX takes half a second, in which a missing file is named
    from lin_jax.bundles import Verdict


@dataclasses.dataclass(frozen=True)
class VerifyAnswer:
    """What `--json` and the HTTP API print: the recordings of both sides, and their `Verdict`."""

    a: list[str]
    b: list[str]
    decision: str
    score: float
    distance: float
    normalised_score: float
    threshold: float
    probability: float
    reason: str


DECISIONS = {"same": "same speaker", "different": "different speakers", "unsure": "unsure"}


def _verify_arguments(parser):
    inputs_argument(parser)
    parser.add_argument(
        "--with",
        nargs="+",
        default=[],
        dest="others",
        metavar="FILE|DIR",
        help="the other side, if a side has several",
    )
    embed.decision_arguments(parser)


def _verify(args) -> int:
    """Print whether two sides are the same speaker."""
    if not args.others and len(args.inputs) != 2:
        raise ConfigError(
            "two sides are compared: lin verify A B, or, where a side has several, lin verify A1 A2 --with B1 B2"
        )
    inputs = [args.inputs, args.others] if args.others else [[name] for name in args.inputs]
    (a, failed_a), (b, failed_b) = map(recordings, inputs)
    failed = failed_a + failed_b
    if not a or not b:
        return 2
    bundle = embed.load_verifier(args)
    voices = list(embed.embed_all(bundle, [*a, *b]))
    failed += voices.count(None)
    sides = [[voice for voice in side if voice] for side in (voices[: len(a)], voices[len(a) :])]
    if not all(sides):
        return 2
    verdict = bundle.compare(sides[0], sides[1], args.threshold)
    if args.json:
        named = {
            name: [voice.name for voice in side] for name, side in zip("ab", sides, strict=True)
        }
        print(json.dumps(named | embed.as_json(verdict)))
    else:
        print(_sentence(verdict))
    return finish(sum(map(len, sides)), failed)


def _sentence(verdict: "Verdict") -> str:
    answer = {
        "same": f"same speaker, probability {verdict.probability:.0%}",
        "different": f"different speakers, probability of the same {verdict.probability:.0%}",
        "unsure": f"unsure: {printable(verdict.reason)}",
    }[verdict.decision]
    figures = (
        f"score {verdict.score:.3f}, distance {verdict.distance:.3f}, "
        f"normalised {verdict.normalised_score:.3f}, threshold {verdict.threshold:.3f}"
    )
    note = (
        f"\n{printable(verdict.reason)}" if verdict.reason and verdict.decision != "unsure" else ""
    )
    return f"{answer}   ({figures}){note}"


def compare(bundle, a: Sequence[str], b: Sequence[str], names: Mapping[str, str]) -> "Verdict":
    """The `Verdict` on two sides of paths, whose reason has their names."""
    verdict = bundle.verify(list(a), list(b))
    return dataclasses.replace(verdict, reason=serving.rename(verdict.reason, names))


def _endpoint(router, model):
    from fastapi import UploadFile

    from lin_jax.apps import api

    @router.post("/verify", name="verify", response_model=VerifyAnswer)
    async def answer(a: list[UploadFile], b: list[UploadFile], uploads: api.Uploads):
        """Whether two sides, each of one recording or several, are the same speaker."""
        paths = await uploads.save([*a, *b])
        with serving.named(uploads.names):
            sides = paths[: len(a)], paths[len(a) :]
            verdict = await model.run(compare, *sides, uploads.names, recordings=paths)
        named = zip("ab", ([uploads.names[path] for path in side] for side in sides), strict=True)
        return dict(named) | embed.as_json(verdict)


def _tab(model, folder):
    from lin_jax.apps import page, results

    hint = results.hint(
        "Is it the same person? Give two recordings of a few seconds each; what is said does not matter."
    )

    async def answer(a, b):
        if not a or not b:
            return hint
        names = page.names(a, b)
        with serving.named(names):
            verdict = await model.run(compare, [a], [b], names, recordings=[a, b])
        return as_html(verdict) + await page.waveforms(a, b)

    async def row(path, voice):
        if not voice:
            raise AudioError("give the one voice above, with which all are compared")
        names = page.names(path, voice)
        verdict = await model.run(compare, [voice], [path], names, recordings=[voice, path])
        return {"compared with": names[voice]} | embed.as_json(verdict)

    voice, _ = page.question_tab(["One voice", "The other voice"], hint, answer, page.TWO_VOICES)
    page.batch(folder, row, [voice], "The one voice with several recordings, as a table")


def as_html(verdict: "Verdict") -> str:
    """Whether two sides are the same speaker, and where their score lies beside the threshold, which is the middle."""
    from lin_jax.apps import results

    sure = f"{verdict.probability:.0%} same; same from {verdict.threshold_probability:.0%} on"
    if verdict.decision == "unsure":
        sure = verdict.reason
    gap = verdict.normalised_score - verdict.threshold
    place = 50 + 50 * gap / (abs(gap) + abs(verdict.threshold) + 1e-9)
    return (
        results.answer(DECISIONS[verdict.decision], sure, verdict.decision)
        + (results.note(verdict.reason) if verdict.reason not in ("", sure) else "")
        + results.gauge(place, "different", "same")
    )


def _warm_up(bundle, seconds: float):
    samples, rate = example_speech(bundle, seconds)
    bundle.verify(samples, samples, sample_rate=rate)


JOB = Job(
    name="verify",
    title="Same speaker?",
    kind=embed.KIND,
    bundle="speaker",
    endpoint=_endpoint,
    tab=_tab,
    requests="curl -F a=@a.wav -F b=@b.wav localhost:7860/v1/verify",
    warm_up=_warm_up,
    commands=(
        Command(
            name="verify",
            summary="say whether two recordings are of the same speaker",
            teach="""\
examples:
  lin verify a.wav b.wav                          same speaker, different speakers, or unsure, and how probable
  lin verify a1.wav a2.wav --with b1.wav b2.wav   several recordings a side, which makes it surer
  lin verify --json a.wav b.wav | jq .decision        a, b, decision, score, distance, normalised_score, threshold,
                                                  probability, reason
  lin verify --calibration ours.json a.wav b.wav  by the threshold for recordings of one's own: see lin calibrate

The score is the cosine similarity of the two voices. The normalised score decides, and the threshold is one for it: how
much likelier the two are one speaker's than two speakers' (PLDA), in standard deviations above what either voice has in
common with the strangers nearest to it. (In a bundle of your own that knows neither it is the score.)
The probability is that of one speaker where same and different are equally likely beforehand. It is unsure where a
side is too short, has nothing of the voice above 3 kHz, or does not sound like speech, and says which. A side of less
than half a second is refused.
Exit code: 0 compared, 1 compared without some that could not be used, 2 not compared.""",
            add_arguments=_verify_arguments,
            run=_verify,
        ),
        calibrate.COMMAND,
    ),
)
