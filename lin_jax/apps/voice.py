"""Voices that are kept by name: `lin voice`."""

import argparse
import json
import os

from lin_jax.apps.common import Command, check_voices, complain, load_bundle
from lin_jax.errors import ConfigError

CONSENT = "stated with --i-may-use-this-voice"


def _arguments(parser: argparse.ArgumentParser):
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    save = actions.add_parser("save", help="keep the voice of recordings under a name")
    save.add_argument("name", metavar="NAME", help="letters, digits, - and _")
    save.add_argument(
        "clips", nargs="+", metavar="FILE|DIR", help="recordings, best five seconds or more in all"
    )
    save.add_argument(
        "--i-may-use-this-voice",
        action="store_true",
        help="state that it is your voice, or that whoever it is agreed",
    )
    save.add_argument(
        "--read-aloud",
        metavar="FILE",
        help="prove it: a recording in which the owner of the voice reads the sentence of "
        "lin voice sentence NAME",
    )
    save.add_argument(
        "--model", metavar="BUNDLE", default="synthesis", help="the synthesizer that is to use it"
    )
    sentence = actions.add_parser("sentence", help="draw the sentence that proves consent")
    sentence.add_argument("name", metavar="NAME")
    show = actions.add_parser("list", help="show the voices that are kept")
    show.add_argument("--json", action="store_true", help="print one JSON object a line")
    remove = actions.add_parser("remove", help="delete a voice")
    remove.add_argument("name", metavar="NAME")


def _run(args) -> int:
    """Save, list or remove voices."""
    return {"save": _save, "sentence": _sentence, "list": _list, "remove": _remove}[args.action](
        args
    )


def _save(args) -> int:
    if not (args.i_may_use_this_voice or args.read_aloud):
        raise ConfigError(
            f"{args.name}: a voice is its owner's; add --i-may-use-this-voice if you may use it, or "
            f"prove it by lin voice sentence {args.name}"
        )
    check_voices([*args.clips, *([args.read_aloud] if args.read_aloud else [])])
    from lin_jax.apps import consent, speak  # not before what is asked for is there
    from lin_jax.audio import files
    from lin_jax.bundles import saved_voices

    saved_voices.path_of(args.name)  # what cannot be a name is told before the work
    sources: list[str] = []
    for name in args.clips:
        sources += map(str, files.find(name)) if os.path.isdir(name) else [name]
    given = CONSENT
    if args.read_aloud:
        verifier = load_bundle("speaker", "verification")
        given = consent.prove(args.name, sources, args.read_aloud, verifier)
    bundle = load_bundle(args.model, "synthesis")
    profile = speak.clone_voice(bundle, sources)
    path = saved_voices.save(args.name, profile, bundle.encoder_fingerprint, given)
    print(f"{args.name}  {path}")
    return 0


def _sentence(args) -> int:
    from lin_jax.apps import consent

    print(consent.ask(args.name))
    complain(
        f"read it aloud and record it within {consent.VALID_SECONDS / 60:.0f} minutes; then "
        f"lin voice save {args.name} FILES --read-aloud RECORDING"
    )
    return 0


def _list(args) -> int:
    from lin_jax.bundles import saved_voices

    for name in saved_voices.names():
        given = saved_voices.load(name).consent
        print(json.dumps({"voice": name, "consent": given}) if args.json else name)
    return 0


def _remove(args) -> int:
    from lin_jax.bundles import saved_voices

    saved_voices.remove(args.name)
    return 0


COMMAND = Command(
    name="voice",
    summary="keep a voice by name, for lin speak and lin convert",
    teach="""\
examples:
  lin voice save anna anna/ --i-may-use-this-voice    a small file without sound in ~/.lin_jax/voices
  lin voice sentence anna                             a sentence for Anna to read aloud, which proves that she agrees
  lin voice save anna anna/ --read-aloud read.wav     by that proof, in place of a statement
  lin speak "Good morning." --voice anna --out morning.wav
  lin clone anna anna/ --i-may-use-this-voice         with texts, nearer to the voice
  lin voice list
  lin voice remove anna

Exit code: 0 done, 2 it could not be done.""",
    add_arguments=_arguments,
    run=_run,
)
