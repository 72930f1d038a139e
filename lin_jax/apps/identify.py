"""Speaker identification: `lin enroll`, `lin identify` and `lin gallery`."""

import json
import os

from lin_jax.apps import embed, gallery
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
from lin_jax.errors import GalleryError

SCORES = ("score", "normalised_score")  # that `lin identify` prints of everyone


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
    bundle = load_bundle(args.model, embed.KIND)
    enrolled = {name: speakers.voices(name, bundle.fingerprint) for name in speakers.names()}
    width = min(48, max(len(printable(path)) for path in paths))
    done = 0
    for voice in embed.embed_all(bundle, paths):
        if not voice:
            failed += 1
            continue
        verdicts = {
            name: bundle.compare(voices, [voice], args.threshold)
            for name, voices in enrolled.items()
        }
        ranked = sorted(verdicts.items(), key=lambda item: -item[1].normalised_score)
        (name, best), *_ = ranked
        speaker = {"same": name, "different": "unknown", "unsure": "unsure"}[best.decision]
        if args.json:
            values = {key: value for key, value in embed.as_json(best).items() if key != "decision"}
            scores = {
                f"{key}s": {name: embed.as_json(verdict)[key] for name, verdict in ranked}
                for key in SCORES
            }
            print(json.dumps({"file": voice.name, "speaker": speaker} | values | scores))
        else:
            others = ranked[1:3] if best.decision == "same" else ranked[:3]
            rest = ", ".join(f"{name} {verdict.probability:.0%}" for name, verdict in others)
            share = f"{best.probability:4.0%}" if best.decision == "same" else "    "
            note = (
                best.reason
                if best.decision == "unsure"
                else "   ".join(filter(None, [rest, best.reason]))
            )
            print(f"{printable(voice.name):<{width}}  {speaker:<10} {share}   {note}".rstrip())
        done += 1
    return finish(done, failed)


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
            print(
                f"{name:<16} {len(voices)} recordings, {sum(voice.seconds for voice in voices):.0f} s of sound"
            )
            done += 1
        except GalleryError as error:
            complain(error)
            failed += 1
    return finish(done, failed)


COMMANDS = (
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
score, of which --threshold is one.
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
)
