"""Commands about who speaks: `lin verify`, `lin embed`, `lin enroll`, `lin identify` and `lin gallery`."""

import contextlib
import dataclasses
import json
import os
import pathlib
from collections.abc import Iterator

import numpy as np

from lin_jax.apps import gallery
from lin_jax.apps.common import (
    Command,
    complain,
    finish,
    load_bundle,
    progress,
    recordings,
    shown,
)
from lin_jax.bundles import SpeakerEmbedding, Verdict, Verifier
from lin_jax.errors import AudioError, ConfigError, GalleryError

SCORES = ("score", "normalised_score")  # that `lin identify` tells of everyone


def _model_argument(parser):
    parser.add_argument(
        "--model",
        metavar="BUNDLE",
        default="speaker",
        help="a bundle folder of your own instead of the one that ships",
    )


def _judgement_arguments(parser):
    _model_argument(parser)
    parser.add_argument(
        "--json", action="store_true", help="print one JSON object a line, for programs"
    )
    parser.add_argument(
        "--threshold",
        type=float,
        metavar="SCORE",
        help="normalised score, as the answer tells it, from which on two voices are one; by default the bundle's",
    )


def _gallery_argument(parser):
    parser.add_argument(
        "--gallery",
        metavar="DIR",
        default=str(gallery.DEFAULT),
        help="folder of the voices (default: %(default)s)",
    )


def _inputs_argument(parser):
    parser.add_argument(
        "inputs",
        nargs="+",
        metavar="FILE|DIR",
        help="a recording, or a folder of them with its subfolders",
    )


def _verify_arguments(parser):
    _inputs_argument(parser)
    parser.add_argument(
        "--with",
        nargs="+",
        default=[],
        dest="others",
        metavar="FILE|DIR",
        help="the other side, if a side has several",
    )
    _judgement_arguments(parser)


def _embed_arguments(parser):
    _inputs_argument(parser)
    parser.add_argument(
        "--out", required=True, metavar="FILE.npz", help="where to; a file there is replaced"
    )
    _model_argument(parser)


def _enroll_arguments(parser):
    parser.add_argument(
        "name", metavar="NAME", help="who speaks; a name that is known gets more recordings"
    )
    _inputs_argument(parser)
    _gallery_argument(parser)
    _model_argument(parser)


def _identify_arguments(parser):
    _inputs_argument(parser)
    _gallery_argument(parser)
    _judgement_arguments(parser)


def _gallery_arguments(parser):
    parser.add_argument(
        "--remove", nargs="+", default=[], metavar="NAME", help="forget these speakers"
    )
    _gallery_argument(parser)


def _verify(args) -> int:
    """Print whether two sides are the same speaker."""
    if not args.others and len(args.inputs) != 2:
        raise ConfigError(
            "two sides are compared: lin verify A B, or, where a side has several, lin verify A1 A2 --with B1 B2"
        )
    sides = [args.inputs, args.others] if args.others else [[name] for name in args.inputs]
    (a, failed_a), (b, failed_b) = map(recordings, sides)
    failed = failed_a + failed_b
    if not a or not b:
        return 2
    bundle = load_bundle(args.model, Verifier.task)
    voices = list(_voices(bundle, [*a, *b]))
    failed += voices.count(None)
    heard = [[voice for voice in side if voice] for side in (voices[: len(a)], voices[len(a) :])]
    if not all(heard):
        return 2
    verdict = bundle.compare(*heard, args.threshold)
    if args.json:
        named = {
            name: [voice.name for voice in side] for name, side in zip("ab", heard, strict=True)
        }
        print(json.dumps(named | plain(verdict)))
    else:
        print(_sentence(verdict))
    return finish(sum(map(len, heard)), failed)


def _embed(args) -> int:
    """Write the embeddings of recordings to an archive of arrays."""
    with _output(pathlib.Path(args.out)) as file:
        found, failed = recordings(args.inputs)
        bundle = load_bundle(args.model, Verifier.task) if found else None
        heard = [voice for voice in _voices(bundle, found) if voice]
        failed += len(found) - len(heard)
        if heard:
            np.savez(
                file,
                files=np.array([voice.name for voice in heard]),
                embeddings=np.stack([voice.embedding for voice in heard]),
                seconds=np.array([voice.seconds for voice in heard]),
                speech=np.array([voice.speech for voice in heard]),
                model=np.array(bundle.fingerprint),
            )
    if doubtful := [voice.name for voice in heard if voice.speech < bundle.speech_threshold]:
        counted = f"{len(doubtful)} of {len(heard)}, first {doubtful[0]}"
        complain(f"{counted}, do not sound like speech: see `speech` in {args.out}")
    if heard:
        print(
            f"{shown(args.out)}: embeddings [{len(heard)}, {len(heard[0].embedding)}], files, seconds, speech"
        )
    return finish(len(heard), failed)


@contextlib.contextmanager
def _output(path: pathlib.Path):
    """A file opened before the work, which may be long; at the end, if something was written, it takes its place."""
    part = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        if path.is_dir():
            raise IsADirectoryError(None, "it is a folder")
        file = part.open("wb")
    except OSError as error:
        raise ConfigError(
            f"{path}: cannot be written ({error.strerror}); choose another place"
        ) from None
    try:
        with file:
            yield file
            written = file.tell()
        if written:
            os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)


def _enroll(args) -> int:
    """Add recordings of a speaker to the gallery."""
    if os.path.isfile(args.name):
        raise GalleryError(f"{args.name}: a file where the name belongs: lin enroll NAME FILES…")
    known = gallery.Gallery(args.gallery)
    gallery.check(args.name)
    found, failed = recordings(args.inputs)
    bundle = load_bundle(args.model, Verifier.task) if found else None
    heard = []
    for voice in _voices(bundle, found):
        if voice and voice.speech < bundle.speech_threshold:
            complain(f"{voice.name}: does not sound like speech; leave it out or record it again")
        elif voice:
            heard.append(voice)
    failed += len(found) - len(heard)
    if not heard:
        return 2
    if reason := bundle.reason_unsure(heard):
        raise GalleryError(f"{reason}; add more recordings")
    total = known.add(args.name, heard, bundle.fingerprint)
    print(f"{args.name}: {total} recording{'s' if total > 1 else ''} in {shown(known.folder)}")
    return finish(len(heard), failed)


def _identify(args) -> int:
    """Print who of the gallery speaks in each recording."""
    known = gallery.Gallery(args.gallery)
    if not known.names():
        raise GalleryError(f"{known.folder}: nobody is enrolled; first lin enroll NAME FILES…")
    found, failed = recordings(args.inputs)
    if not found:
        return 2
    bundle = load_bundle(args.model, Verifier.task)
    enrolled = {name: known.voices(name, bundle.fingerprint) for name in known.names()}
    width = min(48, max(len(shown(path)) for path in found))
    done = 0
    for voice in _voices(bundle, found):
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
            values = {key: value for key, value in plain(best).items() if key != "decision"}
            scores = {
                f"{key}s": {one: plain(verdict)[key] for one, verdict in ranked} for key in SCORES
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
            print(f"{shown(voice.name):<{width}}  {speaker:<10} {share}   {note}".rstrip())
        done += 1
    return finish(done, failed)


def _gallery(args) -> int:
    """Print who is in the gallery, after forgetting whom to forget."""
    known = gallery.Gallery(args.gallery)
    done, failed = 0, 0
    for name in args.remove:
        try:
            known.remove(name)
            done += 1
        except GalleryError as error:
            complain(error)
            failed += 1
    if not known.names():
        complain(f"{known.folder}: nobody is enrolled; first lin enroll NAME FILES…")
    for name in known.names():
        try:
            voices = known.voices(name)
            print(
                f"{name:<16} {len(voices)} recordings, {sum(voice.seconds for voice in voices):.0f} s of sound"
            )
            done += 1
        except GalleryError as error:
            complain(error)
            failed += 1
    return finish(done, failed)


def _voices(bundle, paths) -> Iterator[SpeakerEmbedding | None]:
    """What is heard in each recording, with a bar; None where nothing is, after saying why."""
    with progress(len(paths), "file") as bar:
        for voice in bundle.embed_all(paths) if paths else ():
            bar.update()
            if isinstance(voice, AudioError):
                complain(voice)
                voice = None
            yield voice


def _sentence(verdict: Verdict) -> str:
    answer = {
        "same": f"same speaker, probability {verdict.probability:.0%}",
        "different": f"different speakers, probability of the same {verdict.probability:.0%}",
        "unsure": f"unsure: {shown(verdict.reason)}",
    }[verdict.decision]
    figures = (
        f"score {verdict.score:.3f}, distance {verdict.distance:.3f}, "
        f"normalised {verdict.normalised_score:.3f}, threshold {verdict.threshold:.3f}"
    )
    note = f"\n{shown(verdict.reason)}" if verdict.reason and verdict.decision != "unsure" else ""
    return f"{answer}   ({figures}){note}"


def plain(verdict: Verdict) -> dict:
    """What `--json` and the HTTP API say of a verdict."""
    return {
        name: round(value, 6) if isinstance(value, float) else value
        for name, value in dataclasses.asdict(verdict).items()
    }


COMMANDS = (
    Command(
        name="verify",
        summary="say whether two recordings are of the same speaker",
        teach="""\
examples:
  lin verify a.wav b.wav                          same speaker, different speakers, or unsure, and how probable
  lin verify a1.wav a2.wav --with b1.wav b2.wav   several recordings a side, which makes it surer
  lin verify --json a.wav b.wav | jq .decision        a, b, decision, score, distance, normalised_score, threshold,
                                                  probability, reason

The score is the cosine similarity of the two voices. The normalised score decides, and the threshold is one for it: how
much likelier the two are one speaker's than two speakers' (PLDA), in standard deviations above what either voice has in
common with the strangers nearest to it. (In a bundle of your own that knows neither it is the score.)
The probability is that of one speaker where same and different are equally likely beforehand. It is unsure where a
side is too short or does not sound like speech. A side of less than half a second is refused.
Exit code: 0 compared, 1 compared without some that could not be used, 2 not compared.""",
        add_arguments=_verify_arguments,
        run=_verify,
    ),
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
