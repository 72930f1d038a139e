"""Speaker identification: `lin enroll`, `lin identify` and `lin gallery`."""

import dataclasses
import json
import os
from collections.abc import Mapping
from typing import TYPE_CHECKING

from lin_jax.apps import embed, gallery, serving
from lin_jax.apps.common import (
    Command,
    complain,
    finish,
    inputs_argument,
    load_bundle,
    model_argument,
    printable,
    recordings,
)
from lin_jax.apps.jobs import Job, example_speech
from lin_jax.errors import GalleryError

if TYPE_CHECKING:  # JAX takes half a second, in which a missing file is named
    from lin_jax.bundles import Verdict

    Ranking = list[tuple[str, Verdict]]

SCORES = ("score", "normalised_score")  # that `lin identify` prints of everyone
MAX_SHOWN = 8  # speakers on the page


def _gallery_argument(parser):
    parser.add_argument(
        "--gallery",
        metavar="DIR",
        default=str(gallery.DEFAULT),
        help="folder of the voices (default: %(default)s)",
    )


def _enroll_arguments(parser):
    parser.add_argument(
        "name", metavar="NAME", help="who speaks; a name that is known gets more recordings"
    )
    inputs_argument(parser)
    _gallery_argument(parser)
    model_argument(parser, "speaker")


def _identify_arguments(parser):
    inputs_argument(parser)
    _gallery_argument(parser)
    embed.decision_arguments(parser)


def _gallery_arguments(parser):
    parser.add_argument(
        "--remove", nargs="+", default=[], metavar="NAME", help="forget these speakers"
    )
    _gallery_argument(parser)


def _enroll(args) -> int:
    """Add recordings of a speaker to the gallery."""
    if os.path.isfile(args.name):
        raise GalleryError(f"{args.name}: a file where the name belongs: lin enroll NAME FILES…")
    speakers = gallery.Gallery(args.gallery)
    gallery.check(args.name)
    paths, failed = recordings(args.inputs)
    if not paths:
        return 2
    bundle = load_bundle(args.model, embed.KIND)
    voices = []
    for voice in embed.embed_all(bundle, paths):
        if voice and voice.speech < bundle.speech_threshold:
            complain(f"{voice.name}: does not sound like speech; leave it out or record it again")
        elif voice:
            voices.append(voice)
    failed += len(paths) - len(voices)
    if not voices:
        return 2
    if reason := bundle.reason_unsure(voices):
        raise GalleryError(f"{reason}; add more recordings")
    total = speakers.add(args.name, voices, bundle.fingerprint)
    print(
        f"{args.name}: {total} recording{'s' if total > 1 else ''} in {printable(speakers.folder)}"
    )
    return finish(len(voices), failed)


def _identify(args) -> int:
    """Print who of the gallery speaks in each recording."""
    speakers = gallery.Gallery(args.gallery)
    if not speakers.names():
        raise GalleryError(f"{speakers.folder}: nobody is enrolled; first lin enroll NAME FILES…")
    paths, failed = recordings(args.inputs)
    if not paths:
        return 2
    bundle = embed.load_verifier(args)
    enrolled = {name: speakers.voices(name, bundle.fingerprint) for name in speakers.names()}
    width = min(48, max(len(printable(path)) for path in paths))
    done = 0
    for voice in embed.embed_all(bundle, paths):
        if not voice:
            failed += 1
            continue
        ranked = rank(bundle, voice, enrolled, args.threshold)
        if args.json:
            print(json.dumps(dataclasses.asdict(answer(voice.name, ranked))))
        else:
            print(_line(printable(voice.name), width, ranked))
        done += 1
    return finish(done, failed)


def _line(name: str, width: int, ranked: "Ranking") -> str:
    (_, best), *_ = ranked
    others = ranked[1:3] if best.decision == "same" else ranked[:3]
    rest = ", ".join(f"{name} {verdict.probability:.0%}" for name, verdict in others)
    share = f"{best.probability:4.0%}" if best.decision == "same" else "    "
    note = (
        best.reason if best.decision == "unsure" else "   ".join(filter(None, [rest, best.reason]))
    )
    return f"{name:<{width}}  {speaker(ranked):<10} {share}   {note}".rstrip()


def rank(bundle, voice, enrolled: Mapping, threshold: float | None = None) -> "Ranking":
    """Who of a gallery a voice may be.

    Args:
        bundle: a `Verifier`.
        voice: the `SpeakerEmbedding` of a recording.
        enrolled: those of each speaker, by name.
        threshold: normalised score from which on two voices are one; None is that of the bundle.

    Returns:
        Names with their `Verdict`s, the likeliest first.
    """
    verdicts = {
        name: bundle.compare(voices, [voice], threshold) for name, voices in enrolled.items()
    }
    return sorted(verdicts.items(), key=lambda item: -item[1].normalised_score)


def speaker(ranked: "Ranking") -> str:
    """Who speaks in a recording: a name, "unknown" or "unsure"."""
    (name, best), *_ = ranked
    return {"same": name, "different": "unknown", "unsure": "unsure"}[best.decision]


@dataclasses.dataclass(frozen=True)
class IdentifyAnswer:
    """What `--json` and the HTTP API print of a recording.

    Attributes:
        file: its name.
        speaker: a name, "unknown" or "unsure".
        score: cosine similarity to the likeliest speaker, as what follows is that speaker's.
        distance: 1 - score.
        normalised_score: what is decided by.
        threshold: the normalised score from which on two voices are one.
        probability: of the same speaker.
        reason: what makes it unsure, or what else to know.
        scores: of everybody enrolled, by name.
        normalised_scores: likewise.
    """

    file: str
    speaker: str
    score: float
    distance: float
    normalised_score: float
    threshold: float
    probability: float
    reason: str
    scores: dict[str, float]
    normalised_scores: dict[str, float]


def answer(file: str, ranked: "Ranking") -> IdentifyAnswer:
    """What there is to say of a recording of that name."""
    rows = {name: embed.as_json(verdict) for name, verdict in ranked}
    best = {key: value for key, value in rows[ranked[0][0]].items() if key != "decision"}
    scores = ({name: row[key] for name, row in rows.items()} for key in SCORES)
    return IdentifyAnswer(file, speaker(ranked), *best.values(), *scores)


def identify(bundle, path: str, folder: str, name: str) -> "Ranking":
    """Who of the gallery in a folder speaks in a recording, called by a name; as of `rank`.

    Raises:
        GalleryError: nobody is enrolled, or a file is damaged.
        AudioError: the recording cannot be used.
    """
    speakers = gallery.Gallery(folder)
    names = speakers.names()
    if not names:
        raise GalleryError("nobody is enrolled on this machine; first lin enroll NAME FILES…")
    enrolled = {known: speakers.voices(known, bundle.fingerprint) for known in names}
    voice = dataclasses.replace(embed.embed(bundle, path), name=name)
    return rank(bundle, voice, enrolled)


def _endpoint(router, model):
    from lin_jax.apps import api

    async def identify_one(path, name):
        ranked = await model.run(identify, path, str(gallery.DEFAULT), name, recordings=[path])
        return answer(name, ranked)

    description = "Who of those enrolled on the server's machine speaks in each recording."
    api.answer_recordings(router, model, "identify", IdentifyAnswer, description, identify_one)


def _tab(model, folder):
    from lin_jax.apps import page, results

    hint = results.hint(
        "Who is it? Drop a recording, or record a sentence. First people are enrolled on this "
        "machine: lin enroll NAME FILES…"
    )

    async def show(path):
        if not path:
            return hint
        names = page.names(path)
        with serving.named(names):
            given = path, str(gallery.DEFAULT), names[path]
            ranked = await model.run(identify, *given, recordings=[path])
        return as_html(ranked)

    page.question_tab(["A voice"], hint, show, page.A_VOICE)


def as_html(ranked: "Ranking") -> str:
    """Who speaks, and how likely everybody is."""
    from lin_jax.apps import results
    from lin_jax.reporting import html

    (_, best), *_ = ranked
    below = {
        "same": f"{best.probability:.0%} sure",
        "different": "nobody who is enrolled",
        "unsure": best.reason,
    }[best.decision]
    return results.answer(speaker(ranked), below, best.decision) + html.bars(
        {name: verdict.probability for name, verdict in ranked[:MAX_SHOWN]}
    )


def _gallery(args) -> int:
    """Print who is in the gallery, after forgetting whom to forget."""
    speakers = gallery.Gallery(args.gallery)
    done, failed = 0, 0
    for name in args.remove:
        try:
            speakers.remove(name)
            done += 1
        except GalleryError as error:
            complain(error)
            failed += 1
    if not speakers.names():
        complain(f"{speakers.folder}: nobody is enrolled; first lin enroll NAME FILES…")
    for name in speakers.names():
        try:
            voices = speakers.voices(name)
            recordings = f"{len(voices)} recording{'s' if len(voices) > 1 else ''}"
            seconds = sum(voice.seconds for voice in voices)
            print(f"{name:<16} {recordings}, {seconds:.0f} s of sound")
            done += 1
        except GalleryError as error:
            complain(error)
            failed += 1
    return finish(done, failed)


JOB = Job(
    name="identify",
    title="Who is it?",
    kind=embed.KIND,
    bundle="speaker",
    endpoint=_endpoint,
    tab=_tab,
    requests="curl -F file=@a.wav localhost:7860/v1/identify                 who of those that lin enroll knows",
    warm_up=lambda bundle, seconds: bundle.embed(*example_speech(bundle, seconds)),
    commands=(
        Command(
            name="enroll",
            summary="add a speaker to the gallery, to be recognised by `lin identify`",
            teach="""\
examples:
  lin enroll Anna anna1.wav anna2.wav             the more recordings, rooms and days, the better
  lin enroll Anna more/ --gallery family/         a gallery of your own

The gallery holds no sound, only a file of numbers for each speaker; `lin gallery` shows and forgets them.
Exit code: 0 all done, 1 some could not be used, 2 none could.""",
            add_arguments=_enroll_arguments,
            run=_enroll,
        ),
        Command(
            name="identify",
            summary="say who of the gallery speaks",
            teach="""\
examples:
  lin identify clip.wav                           a name, "unknown" or "unsure"
  lin identify --json calls/ | jq .speaker        file, speaker, score, distance, normalised_score, threshold,
                                                  probability, reason, scores, normalised_scores

Each probability is that of the recording and that speaker alone, and decided as by `lin verify`: by the normalised
score, of which --threshold is one and --calibration, a file by lin calibrate, holds one. It is unsure of a recording
that is too short, has nothing of the voice above 3 kHz, or does not sound like speech.
Exit code: 0 all done, 1 some could not be used, 2 none could.""",
            add_arguments=_identify_arguments,
            run=_identify,
        ),
        Command(
            name="gallery",
            summary="show who is in the gallery, or forget them",
            teach="""\
examples:
  lin gallery                                     names, recordings and seconds
  lin gallery --remove Anna

Exit code: 0 all done, 1 some names were unknown or their files damaged, 2 all were.""",
            add_arguments=_gallery_arguments,
            run=_gallery,
        ),
    ),
)
