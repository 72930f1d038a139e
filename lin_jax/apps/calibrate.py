"""A threshold for recordings of one's own: `lin calibrate`."""

import dataclasses
import json
import os
from typing import TYPE_CHECKING

from lin_jax import durable
from lin_jax.apps import embed, output_paths
from lin_jax.apps.common import (
    Command,
    complain,
    finish,
    json_argument,
    load_bundle,
    model_argument,
    printable,
    recordings,
)
from lin_jax.errors import AudioError

if TYPE_CHECKING:
    from lin_jax.bundles import SpeakerCalibration, SpeakerEmbedding

MAX_RECORDINGS = 10  # of a person, spread evenly over more: they say little new


def _arguments(parser):
    parser.add_argument(
        "folder", metavar="DIR", help="a folder with one subfolder a person, named as you like"
    )
    parser.add_argument(
        "--out", required=True, metavar="FILE.json", help="where to; a file there is replaced"
    )
    model_argument(parser, "speaker")
    json_argument(parser)


def _calibrate(args) -> int:
    """Write the threshold for the recordings of some people, unless their voices overlap."""
    output_paths.check_file(args.out)
    people, failed = _people(args.folder)
    from lin_jax.bundles import SpeakerCalibration

    bundle = load_bundle(args.model, embed.KIND)
    paths = [path for of_person in people.values() for path in of_person]
    voices = _usable(bundle, people, paths)
    done = sum(map(len, voices.values()))
    failed += len(paths) - done
    calibration = SpeakerCalibration.fit(bundle, voices)
    with durable.replacing(args.out) as part:
        part.write_text(calibration.to_json(), encoding="utf-8")
    if args.json:
        print(json.dumps(dataclasses.asdict(calibration)))
    else:
        print(*_lines(calibration, printable(args.out)), sep="\n")
    return finish(done, failed)


def _people(folder: str) -> tuple[dict[str, list[str]], int]:
    """The recordings of each person, and how many folders hold none; see `MAX_RECORDINGS`."""
    if not os.path.isdir(folder):
        raise AudioError(f"{folder}: no such folder; give one with a subfolder for each person")
    names = sorted(
        entry.name for entry in os.scandir(folder) if entry.is_dir() and entry.name[0] != "."
    )
    if not names:
        raise AudioError(
            f"{folder}: no subfolders; put the recordings of each person into one of their own"
        )
    people, failed = {}, 0
    for name in names:
        paths, missing = recordings([os.path.join(folder, name)])
        step = max(1.0, len(paths) / MAX_RECORDINGS)
        chosen = [paths[int(k * step)] for k in range(min(len(paths), MAX_RECORDINGS))]
        failed += missing
        if chosen:
            people[name] = chosen
    return people, failed


def _usable(bundle, people, paths) -> "dict[str, list[SpeakerEmbedding]]":
    """The voices of each person that can be decided on, after naming the others."""
    owner = {path: name for name, of_person in people.items() for path in of_person}
    voices: dict[str, list] = {name: [] for name in people}
    first: dict[str, str] = {}  # path of the recording with these samples
    for voice in embed.embed_all(bundle, paths):
        if voice is None:
            continue
        other = first.setdefault(voice.digest, voice.name)
        if other != voice.name:
            complain(f"{voice.name}: the same recording as {other}; left out")
        elif reason := bundle.reason_unsure([voice]):
            complain(f"{reason}; left out")
        else:
            voices[owner[voice.name]].append(voice)
    return voices


def _lines(calibration: "SpeakerCalibration", out: str):
    yield (
        f"{calibration.people} people, {calibration.recordings} recordings, "
        f"{calibration.trials} pairs"
    )
    yield (
        f"threshold          {calibration.threshold:.2f}   "
        f"(95 % interval {calibration.threshold_low:.2f} to {calibration.threshold_high:.2f})"
    )
    yield (
        f"equal error rate   {calibration.eer:.1%}   "
        f"(95 % interval {calibration.eer_low:.1%} to {calibration.eer_high:.1%})"
    )
    yield (
        f"at the threshold   {calibration.false_accept:.1%} of other people accepted, "
        f"{calibration.false_reject:.1%} of the same person rejected"
    )
    for a, b, rate in calibration.overlapping:
        yield f"{printable(a)} and {printable(b)} overlap: {rate:.0%} wrong between the two"
    yield f"{out}: lin verify --calibration {out} A B"


COMMAND = Command(
    name="calibrate",
    summary="fit the threshold of lin verify to recordings of your own",
    teach="""\
examples:
  lin calibrate people/ --out ours.json           people/anna/*.wav, people/ben/*.wav, …: 3 to 10 recordings a person
  lin verify --calibration ours.json a.wav b.wav  decided by that threshold
  lin identify --calibration ours.json clip.wav

How alike the voices of two people score depends on microphone, room and language more than on anything else, so that
one threshold for all is wrong for many. Every recording is compared with every other one. The threshold is the score
at which both errors are expected as often; with it come its 95 % interval, by drawing the people anew, and the equal
error rate. The more people the narrower the interval: 3 are needed, 10 or more are better, and 3 recordings of each
from different days. Record as you will record later on: same microphones, same rooms, same length.
Where more than 10 % of the decisions would be wrong at any threshold, the voices overlap and none is written; which two
people are confused most is said. Two who overlap among many are named beside the answer.
The file holds no sound and no voices, and is for one model only. Of more than 10 recordings a person 10 are used.
Exit code: 0 all done, 1 some recordings could not be used, 2 no threshold.""",
    add_arguments=_arguments,
    run=_calibrate,
)
