"""Live answers from the microphone in the terminal: `lin listen`.

Shape letter: N samples.
"""

import argparse
import contextlib
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from lin_jax.apps import classify, embed, gallery
from lin_jax.apps import identify as identification
from lin_jax.apps.common import Command, check_voices, clock, load_bundle, printable
from lin_jax.apps.verify import DECISIONS
from lin_jax.errors import AudioError, ConfigError, GalleryError

if TYPE_CHECKING:  # whose threads `lin serve` limits before it is imported
    import numpy as np

VOICE_SECONDS = 4.0  # of what was said last that a voice is known by
CLASSIFIERS = ("gender", "emotion")


def _arguments(parser: argparse.ArgumentParser):
    parser.add_argument("job", choices=(*CLASSIFIERS, "verify", "identify"), help="what is asked")
    parser.add_argument(
        "--with",
        dest="others",
        nargs="+",
        default=[],
        metavar="FILE",
        help="of verify: recordings of the speaker that it may be",
    )
    parser.add_argument("--gallery", default=gallery.DEFAULT, metavar="DIR", help="of identify")
    parser.add_argument("--model", metavar="BUNDLE", help="a bundle of your own")
    parser.add_argument("--device", metavar="NAME", help="a part of the microphone's name")
    parser.add_argument(
        "--seconds", type=float, default=float("inf"), help="after which it ends; else by Ctrl-C"
    )


def _listen(args) -> int:
    """Print a line for every second."""
    import numpy as np

    if args.job in CLASSIFIERS:
        bundle = load_bundle(args.model or args.job, "classification")
        size, answer = bundle.window_seconds, _classification(bundle)
    else:
        bundle, size = load_bundle(args.model or "speaker", embed.KIND), VOICE_SECONDS
        verifying = args.job == "verify"
        answer = (
            _verification(bundle, args.others)
            if verifying
            else _identification(bundle, args.gallery)
        )
    rate = bundle.frontend.sample_rate
    window, second = np.zeros(0, np.float32), 0
    try:
        for block in microphone(rate, args.device):
            window, second = np.concatenate([window, block])[-round(size * rate) :], second + 1
            try:
                line = answer(window, rate)
            except AudioError:  # too soft, or too little of it
                line = "(silence)"
            print(f"{clock(second)}  {printable(line)}", flush=True)
            if second >= args.seconds:
                break
    except KeyboardInterrupt:
        print()
    return 0


def microphone(sample_rate: int, device: str | None = None) -> "Iterator[np.ndarray]":
    """What a microphone takes up, second by second, without end.

    Args:
        sample_rate: in Hz.
        device: a part of its name; None is the system's choice.

    Yields:
        float32 [N], a second each; what is not fetched in time is lost.

    Raises:
        ConfigError: sounddevice or PortAudio is not installed, or there is no such microphone.
    """
    with sound_card("InputStream", sample_rate, device) as card:
        while True:
            block, _ = card.read(sample_rate)
            yield block[:, 0]


@contextlib.contextmanager
def sound_card(kind: str, sample_rate: int, device, **settings) -> "Iterator[Any]":
    """A stream of the sound card, of one channel of float32.

    Args:
        kind: "InputStream", or "Stream" for the loudspeaker too.
        sample_rate: in Hz.
        device: a part of its name, or of those of microphone and loudspeaker; None is the system's
            choice.
        **settings: more of them, as sounddevice has them.

    Raises:
        ConfigError: sounddevice or PortAudio is not installed, or there is no such device.
    """
    try:
        import sounddevice
    except ImportError:
        raise ConfigError(
            "listening needs one more package: pip install 'lin_jax[listen]'"
        ) from None
    except OSError:
        raise ConfigError(
            "listening needs the PortAudio library: apt install libportaudio2"
        ) from None
    settings |= {"samplerate": sample_rate, "channels": 1, "dtype": "float32", "device": device}
    try:
        with getattr(sounddevice, kind)(**settings) as card:
            yield card
    except (sounddevice.PortAudioError, ValueError) as error:
        reason = str(error).splitlines()[0]
        raise ConfigError(
            f"no microphone can be used ({reason}); plug one in, or choose another with --device: "
            "python -m sounddevice lists them"
        ) from None


def _classification(bundle) -> "Callable[[np.ndarray, int], str]":
    return lambda window, rate: classify.in_words(bundle.predict(window, rate))


def _verification(bundle, others) -> "Callable[[np.ndarray, int], str]":
    if not others:
        raise ConfigError("verify: name recordings of the speaker that it may be, with --with")
    check_voices(others)
    voices = [embed.embed(bundle, path) for path in others]

    def answer(window, rate):
        verdict = bundle.compare(voices, [_voice(bundle, window, rate)])
        return f"{DECISIONS[verdict.decision]}  {verdict.probability:.0%} same".rstrip()

    return answer


def _identification(bundle, folder) -> "Callable[[np.ndarray, int], str]":
    speakers = gallery.Gallery(folder)
    if not speakers.names():
        raise GalleryError(f"{speakers.folder}: nobody is enrolled; first lin enroll NAME FILES…")
    enrolled = {name: speakers.voices(name, bundle.fingerprint) for name in speakers.names()}

    def answer(window, rate):
        ranked = identification.rank(bundle, _voice(bundle, window, rate), enrolled)
        (_, best), *_ = ranked
        return f"{identification.speaker(ranked)}  {best.probability:.0%}"

    return answer


def _voice(bundle, window, rate: int):
    """The `SpeakerEmbedding` of a window [N]; AudioError if there is none."""
    (voice,) = bundle.embed_all([window], rate)
    if isinstance(voice, AudioError):
        raise voice
    return voice


COMMAND = Command(
    name="listen",
    summary="answer live, from the microphone",
    teach="""\
examples:
  lin listen gender                               a line every second, until Ctrl-C
  lin listen verify --with anna1.wav anna2.wav    whether it is Anna who speaks
  lin listen identify --seconds 30                who of those that lin enroll knows
  lin listen emotion --device USB

It needs pip install 'lin_jax[listen]'. Each line is about the last seconds; nothing is recorded or sent.
Exit code: 0 it ended, 2 it could not listen.""",
    add_arguments=_arguments,
    run=_listen,
)
