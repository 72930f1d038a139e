"""What `lin repair --live` does: sound is repaired while it goes on.

It comes from standard input and goes to standard output, or from the microphone to the loudspeaker.
"""

import contextlib
import json
import sys
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from lin_jax.apps import listen
from lin_jax.apps.common import clock, load_bundle
from lin_jax.errors import AudioError, ConfigError

if TYPE_CHECKING:
    import numpy as np

    from lin_jax.bundles import StreamRepairer

MODEL = "repair_live"
RATE = 16000  # of a microphone whose rate is not told
CHUNK = 1 << 16  # bytes read at once, at most
BLOCK_SECONDS = 0.01  # from the microphone


def repair_live(args) -> int:
    """Repair what comes in until it ends, and tell how long that took."""
    if args.out or args.in_place:
        raise ConfigError("--live: what is repaired is sent on at once: omit --out and --in-place")
    if args.inputs not in ([], ["-"]):
        raise ConfigError("--live: give - for standard input, or nothing for the microphone")
    bundle = load_bundle(args.model or MODEL, "repair")
    if not hasattr(bundle, "stream"):
        raise ConfigError(f"{bundle.name}: it hears ahead, which --live cannot: try {MODEL}")
    piped = args.inputs == ["-"]
    clocked = _Clocked()
    with contextlib.suppress(KeyboardInterrupt):  # which is how a microphone ends
        (_pipe if piped else _converse)(bundle, clocked, args)
    # Where standard output has the sound, the figures are beside it.
    print(_figures(clocked, args.json), file=sys.stderr if piped else sys.stdout)
    return 0


class _Clocked:
    """A stream with the time that its repair takes.

    Attributes:
        seconds: of sound that was pushed.
        spent: seconds in which it was repaired.
        latency: of the stream, in seconds.
    """

    def __init__(self):
        self.seconds = self.spent = self.latency = 0.0

    def begin(self, stream: "StreamRepairer", rate: int):
        """Let it be of a stream at a rate in Hz."""
        self._stream, self._rate, self.latency = stream, rate, stream.latency_seconds

    def push(self, samples: "np.ndarray | None") -> "np.ndarray":
        """What the next samples settle; None ends the stream."""
        began = time.perf_counter()
        settled = self._stream.flush() if samples is None else self._stream.push(samples)
        self.spent += time.perf_counter() - began
        self.seconds += 0 if samples is None else len(samples) / self._rate
        return settled


def _figures(clocked: _Clocked, as_json: bool) -> str:
    factor = clocked.spent / clocked.seconds if clocked.seconds else 0.0
    if as_json:
        return json.dumps(
            {
                "seconds": round(clocked.seconds, 3),
                "latency_seconds": clocked.latency,
                "real_time_factor": round(factor, 4),
            }
        )
    return (
        f"{clock(clocked.seconds)} of sound, {clocked.latency * 1000:.0f} ms late, "
        f"repaired in {factor:.3f} of the time it plays"
    )


def _pipe(bundle, clocked: _Clocked, args):
    """Standard input to standard output: WAV stays WAV, and with --rate raw 16-bit samples are raw."""
    from lin_jax.audio import wav_stream

    source, sink = sys.stdin.buffer, sys.stdout.buffer
    start = source.read(4)
    wav = start == b"RIFF"
    if not wav and args.rate is None:
        what = "no WAV" if start else "no samples"
        raise AudioError(f"-: {what}; send WAV, or raw 16-bit samples and their --rate")
    layout = wav_stream.read_header(source) if wav else wav_stream.Format(args.rate)
    if wav and args.rate not in (None, layout.sample_rate):
        raise ConfigError(
            f"--rate {args.rate}: the WAV says {layout.sample_rate} Hz itself; omit --rate"
        )
    clocked.begin(
        bundle.stream(layout.sample_rate, layout.channels, args.strength), layout.sample_rate
    )
    if wav:
        comment = f"repaired by {bundle.name}"
        sink.write(wav_stream.header(layout.sample_rate, comment, layout.channels))
    for samples in _samples(source, b"" if wav else start, layout):
        sink.write(wav_stream.encode(clocked.push(samples)))
        sink.flush()
    sink.write(wav_stream.encode(clocked.push(None)))
    sink.flush()
    if not clocked.seconds:
        raise AudioError("-: no samples; send some")


def _samples(source: Any, start: bytes, layout) -> "Iterator[np.ndarray]":
    """The samples [n, C] of a pipe as they come, after bytes that were read already."""
    import numpy as np

    dtype, rest = np.dtype(layout.dtype), start
    width = dtype.itemsize * layout.channels
    left = sys.maxsize if layout.size is None else layout.size
    while read := source.read1(min(CHUNK, left)):
        left -= len(read)
        rest += read
        whole = len(rest) // width * width
        if whole:
            samples = np.frombuffer(rest[:whole], dtype).reshape(-1, layout.channels)
            yield samples.astype(dtype.newbyteorder("="))
        rest = rest[whole:]


def _converse(bundle, clocked: _Clocked, args):
    """The microphone to the loudspeaker, until Ctrl-C."""
    rate = args.rate or RATE
    clocked.begin(bundle.stream(rate, 1, args.strength), rate)
    with listen.sound_card("Stream", rate, (args.device, None), latency="low") as card:
        while True:
            block, _ = card.read(round(BLOCK_SECONDS * rate))
            card.write(clocked.push(block)[:, None])
