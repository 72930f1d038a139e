"""A synthesizer so simple that what it band_of is known: each symbol is a tone, and each voice has its own octaves."""

import functools
import time
import warnings

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn

from helpers import verifiers
from helpers.recordings import tone
from helpers.tiny import drawn
from lin_jax import bundles
from lin_jax.audio import files
from lin_jax.audio.frontend import mel_centres
from lin_jax.audio.frontend_config import FrontendConfig
from lin_jax.errors import ConfigError, TextError
from lin_jax.models.registry import NETWORKS
from lin_jax.models.tacotron import Decoded
from lin_jax.models.vocoder import SpectrumDecoder
from lin_jax.text import SymbolTable

RATE, M, EACH = verifiers.RATE, 16, 6  # EACH frames say one symbol
FRONTEND = FrontendConfig(
    sample_rate=RATE,
    n_mels=M,
    n_mfcc=M,
    n_fft=512,
    win_length=512,
    hop_length=256,
    level="rms",
    level_db=-25.0,
)
TABLE = SymbolTable(tuple(" .abcdefghq"), language="en")
SYMBOL_SECONDS = EACH * FRONTEND.hop_length / RATE


class Speller(nn.Module):
    """Says a text symbol by symbol, a recording by one tone of its length; at a q it does not end."""

    num_mels: int = M
    endless: int = len(TABLE) - 1
    forgets: int = 10_000  # place in its source from which on it begins again
    reduction: int = 1

    def setup(self):
        """Voices on one side of this direction speak high, the others low."""
        self.low = self.param("low", nn.initializers.zeros, (64,))

    def generate(self, source, source_length, voice, *, max_frames):
        """As that of a `Tacotron`."""
        B, L = source.shape[:2]
        stuck, wanted, symbol = jnp.zeros(B, bool), source_length, 0
        place = jnp.arange(max_frames)
        if jnp.issubdtype(source.dtype, jnp.integer):
            stuck, wanted = jnp.any(source == self.endless, axis=1), EACH * source_length
            place = place // EACH
            symbol = source[:, jnp.minimum(place, L - 1)]  # [B, T]
        band = (
            symbol % 8 + jnp.where(voice @ self.low > 0, 0, 8)[:, None] + jnp.zeros(max_frames, int)
        )
        mel = jnp.where(jnp.arange(M) == band[..., None], 0.0, -4.0)
        num_frames = jnp.where(stuck, max_frames, jnp.minimum(wanted, max_frames))
        last = source_length[:, None] - 1
        place = jnp.where(place < self.forgets, jnp.minimum(place, last), 0)
        attention = jax.nn.one_hot(place, L)  # [B, T, L]
        stop = jnp.zeros((B, max_frames))
        return Decoded(mel, mel, num_frames, stop, attention, ~stuck & (wanted <= max_frames))


class Hummer:
    """Stands in for a `Tacotron` where it does not matter how it speaks: it hums, and keeps what it was asked."""

    task, name, encoder_fingerprint = "synthesis", "hummer", ""
    names, sexes, sources = ("Low", "High"), ("male", "female"), ("text", "speech")
    fitting_steps = 2

    def __init__(self, seconds=0.0):
        """It takes seconds to clone a voice; nothing was asked yet."""
        self.seconds, self.asked, self.cloned = seconds, [], []

    def clone_voice(self, sources, repair=False, progress=lambda steps: None):
        """The paths and names themselves, of recordings that can be read."""
        self.cloned.append(sources)
        for path in sources:
            if path not in self.names:
                files.load(path, FRONTEND)
            progress(1)
        time.sleep(self.seconds)
        return sources[0] if len(sources) == 1 else sources

    def speak(self, text, voice=None, speed=1.0):
        """Hums as many seconds as the text has words; a question has no answer, and a comma is a problem."""
        if "?" in text:
            raise TextError("nothing to say: ask somebody else")
        for _ in range(text.count(",")):
            warnings.warn("skipped a comma", stacklevel=2)
        return self._hum(text, voice, speed, len(text.split()))

    def stream(self, text, voice=None, speed=1.0):
        """Hums sentence by sentence; what cannot be said is an error at once."""
        sentences = [self.speak(each, voice, speed) for each in text.split(".") if each.strip()]
        return iter(sentences)

    def convert_voice(self, source, voice=None, speed=1.0, text=""):
        """Hums as long as the recording is."""
        files.load(source, FRONTEND)
        return self._hum(text or source, voice, speed, files.duration(source))

    def _hum(self, source, voice, speed, seconds):
        if not 0.5 <= speed <= 2:
            raise ConfigError(f"speed {speed:g}: choose one from 0.5 to 2")
        for path in voice if isinstance(voice, list) else [voice]:
            if path not in (None, *self.names):
                files.load(path, FRONTEND)
        self.asked.append((source, voice, speed))
        return bundles.Speech(tone(seconds / speed), RATE, (), f"made by {self.name}")


def synthesizer(encoder="speaker_encoder", **changes) -> bundles.Synthesizer:
    """A bundle of two voices, heard by `verifiers.verifier()`; register its network with `register` to save it."""
    learnt = _learnt()
    settings = {
        "table": TABLE,
        "trained_seconds": 4.0,
        "max_seconds": 6.0,
        "source_mfcc": 8,
        "sources": ("text", "speech"),
    }
    return bundles.Synthesizer(
        "parrot",
        Speller(),
        FRONTEND,
        {"params": {"low": learnt[0] - learnt[1]}},
        mean=np.full(M, -40.0, np.float32),
        std=np.full(M, 10.0, np.float32),
        voices=learnt,
        ltas=np.repeat(np.float32([[-75.0, -80.0], [-80.0, -75.0]]), 8, axis=1),
        ltas_corrections=np.zeros((2, M), np.float32),
        names=("Low", "High"),
        sexes=("male", "female"),
        encoder=str(encoder),
        **(settings | changes),
    )


def vocoder(frontend=FRONTEND) -> bundles.Vocoder:
    """A vocoder that leaves all to Griffin-Lim: its network is untrained."""
    network, F = SpectrumDecoder(frontend.n_fft // 2 + 1, 4, (1,)), frontend.n_fft // 2 + 1
    inputs = np.zeros((1, 4, M)), np.zeros((1, 4, F)), np.ones((1, 4), bool)
    variables = drawn(network.init, *inputs)
    variables["params"]["Dense_1"]["kernel"] *= 0.0
    return bundles.Vocoder(
        "sound", network, frontend, variables, np.zeros(M), np.ones(M), iterations=8
    )


@functools.cache
def _learnt() -> np.ndarray:
    verifier = verifiers.verifier()
    return np.stack([verifier.embed(verifiers.voice(speaker), RATE) for speaker in (0, 1)])


def band(samples) -> int:
    """The mel band of which a sound is."""
    spectrum = np.abs(np.fft.rfft(samples * np.hanning(len(samples))))
    return int(np.abs(mel_centres(FRONTEND) - spectrum.argmax() / len(samples) * RATE).argmin())


def band_of(symbol: str, voice: int) -> int:
    """The mel band by which a voice band_of a symbol."""
    return (TABLE.symbols.index(symbol) + 2) % 8 + 8 * voice


def register(patch):
    """Let bundles know the networks, for as long as the patch lasts."""
    verifiers.register(patch)
    patch.setitem(NETWORKS, "Speller", Speller)
