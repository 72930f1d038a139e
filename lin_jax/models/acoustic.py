"""Text to mel frames by durations and flow matching, so that no word is skipped or said twice.

Shape letters: B clips, L symbols, V kinds of symbols, T frames, M mel bins, H hidden features of a
symbol, W features of a frame, E embedding.
"""

import flax.linen as nn
import jax
import jax.numpy as jnp

from lin_jax.models.layers import Dense, DepthwiseConv, ResidualConv, frame_mask, normalised
from lin_jax.models.registry import register
from lin_jax.models.tacotron import Encoder

TIME_FREQUENCIES = 32
TEXT_SHARE = 0.75  # of the features of a recording whose text is known
MELODY = 5  # frames, about as long as a symbol, over which a converted recording's prosody is taken
# Prosody of a symbol: logarithm of its frames, pitch in octaves above 100 Hz, share of its frames
# that are voiced, mean of its bands. What is usual when people read aloud:
PROSODY_MEAN, PROSODY_SCALE = (1.07, 0.67, 0.67, 0.1), (0.61, 0.44, 0.41, 0.6)
PROSODY = len(PROSODY_MEAN)
VOICED = 0.05  # share of voiced frames from which on a symbol has a pitch


@register
class AcousticModel(nn.Module):
    """A non-autoregressive synthesizer for many voices, whose frames are drawn by a flow.

    An encoder with LSTM layers reads the symbols; each is held for a duration (J. Shen et al.,
    "Non-Attentive Tacotron", 2020), with a pitch, voicing and energy (A. Łańcucki, "FastPitch:
    parallel text-to-speech with pitch prediction", ICASSP 2021). All four are known in training;
    in use a flow of their own gives the most usual ones, since nobody reads in the mean of how
    people may (S. Mehta et al., "Should you use a probabilistic duration model in TTS? Probably!
    Especially for spontaneous speech", Interspeech 2024). The frames so laid out give a first
    guess, the prior; from noise, a network that knows it moves along straight paths to frames that
    are as sharp as recorded ones (S. Mehta et al., "Matcha-TTS: a fast TTS architecture with
    conditional flow matching", ICASSP 2024). The voice is an embedding of a speaker encoder.

    Attributes:
        num_mels: M.
        num_symbols: V.
        symbol_features: of a symbol before it is read in context.
        hidden: H, even.
        context: features of the symbols, and of the voice, that the flow is given beside the prior.
        width: W of the flow.
        prosody_width: features of the flow of prosody.
        dilations: of the blocks of both flows, in frames or symbols.
        expansion: hidden features of a block, as a multiple of its width.
        dropout: of the encoders, and of what the flow of prosody is given.
        unroll: steps of the LSTM computed together; more than one pays on a GPU.
        content_width: hidden features of the encoder of recordings that are converted.
        content_dilations: of its blocks, in frames; without any, only texts are spoken.
    """

    num_mels: int
    num_symbols: int
    symbol_features: int = 128
    hidden: int = 192
    context: int = 64
    width: int = 224
    prosody_width: int = 80
    dilations: tuple[int, ...] = (1, 2, 4, 1, 2, 4)
    expansion: int = 2
    dropout: float = 0.1
    unroll: int = 1
    content_width: int = 192
    content_dilations: tuple[int, ...] = (1, 2, 4, 1, 2, 4)

    def setup(self):
        """The parts."""
        self.symbols = nn.Embed(self.num_symbols, self.symbol_features)
        self.encoder = Encoder(self.hidden, (1, 1, 1), self.dropout, self.unroll)
        self.voice = nn.Dense(self.hidden)
        blocks = self.dilations, self.expansion
        self.prosody = Flow(PROSODY, self.context, self.prosody_width, *blocks)
        self.prosody_dropout = nn.Dropout(self.dropout)
        self.intonation = Dense(self.hidden, use_bias=False)
        self.spread = Dense(self.width)
        self.prior_layer = ResidualConv((3,))
        self.prior = Dense(self.num_mels)
        self.flow = Flow(self.num_mels, self.context, self.width, *blocks)
        if self.content_dilations:
            sizes = self.hidden, self.num_symbols, self.content_width
            self.content = ContentEncoder(*sizes, self.content_dilations, self.dropout)

    def encode(self, symbols, num_symbols, voice, *, train=False):
        """Features of the symbols in a voice.

        Args:
            symbols: [B, L] int, or how likely each kind is [B, L, V] float.
            num_symbols: real ones [B] int.
            voice: embeddings of any length [B, E].
            train: whether dropout is on (needs the "dropout" rng).

        Returns:
            [B, L, H], zero on padding, and the voice [B, H].
        """
        hard = jnp.issubdtype(symbols.dtype, jnp.integer)
        x = self.symbols(symbols) if hard else symbols @ self.symbols.embedding
        x, mask = self.encoder(x, num_symbols, train=train)
        voice = self._voice(voice)
        return jnp.where(mask[..., None], x + voice[:, None], 0.0), voice

    def _voice(self, voice):
        """Embeddings of any length [B, E] as the network has them [B, H]."""
        norm = jnp.sqrt(jnp.maximum(jnp.mean(voice**2, axis=-1, keepdims=True), 1e-12))
        return jnp.tanh(self.voice(voice / norm))

    def plan(self, encoded, num_symbols, voice, *, steps: int = 6):
        """How the symbols are most usually spoken: where the flow of prosody leads from no noise.

        Args:
            encoded: of `encode` [B, L, H].
            num_symbols: real ones [B] int.
            voice: of `encode` [B, H].
            steps: of the path.

        Returns:
            The prosody of each symbol [B, L, PROSODY], zero on padding.
        """
        mask = frame_mask(num_symbols, encoded.shape[1])

        def velocity(drawn, time):
            return self.prosody(drawn, time, None, encoded, voice, mask)

        drawn = follow(velocity, jnp.zeros((*mask.shape, PROSODY)), steps)
        drawn = drawn * jnp.array(PROSODY_SCALE) + jnp.array(PROSODY_MEAN)
        return jnp.where(mask[..., None], drawn, 0.0)

    def lay_out(self, encoded, durations, num_frames: int):
        """The prior of the frames.

        Args:
            encoded: what `encode` gives [B, L, H].
            durations: frames of each symbol [B, L] int, zero on padding.
            num_frames: T, at least their largest sum.

        Returns:
            prior [B, T, M] and features [B, T, W], both zero past the last frame, and mask [B, T].
        """
        held, timing, mask = hold(encoded, durations, num_frames)
        return *self._prior(held, timing, mask), mask

    def _prior(self, held, timing, mask):
        """The prior [B, T, M] of symbols that are held [B, T, H], and features [B, T, W]."""
        x = jnp.concatenate([held, timing], axis=-1)
        x = self.spread(jnp.where(mask[..., None], x, 0.0))
        x = jnp.where(mask[..., None], self.prior_layer(x, mask), 0.0)
        return jnp.where(mask[..., None], self.prior(normalised(x)), 0.0), x

    def recognise(self, frames, num_frames, *, train=False):
        """What recorded frames say; see `ContentEncoder`.

        Args:
            frames: of a recording [B, T, M], normalised.
            num_frames: real ones [B] int.
            train: whether dropout is on.
        """
        mask = frame_mask(num_frames, frames.shape[1])
        return self.content(frames, mask, train=train)

    def __call__(
        self,
        symbols,
        num_symbols,
        voice,
        durations,
        intonation,
        noisy_prosody,
        noisy,
        time,
        keep,
        *,
        train=False,
    ):
        """What training compares: the velocities of both flows, and the prior.

        Args:
            symbols: as for `encode`, as are `num_symbols` and `voice`.
            num_symbols: [B] int.
            voice: [B, E].
            durations: frames of each symbol [B, L] int.
            intonation: of each symbol, as `intonation_of` gives it, zero where it is not known.
            noisy_prosody: prosody on its way from noise [B, L, PROSODY], normalised.
            noisy: frames on their way from noise to speech [B, T, M], normalised.
            time: how far each clip is on both ways [B], 0 to 1.
            keep: whether the flow of a clip is given its text and voice [B] bool.
            train: whether dropout is on.

        Returns:
            Velocity of prosody [B, L, PROSODY], prior [B, T, M], velocity of frames [B, T, M].
        """
        encoded, voice = self.encode(symbols, num_symbols, voice, train=train)
        # Neither flow moves what it is given: prosody not the text, frames not what they are in
        # the mean.
        read = self.prosody_dropout(jax.lax.stop_gradient(encoded), deterministic=not train)
        real = frame_mask(num_symbols, encoded.shape[1])
        its_voice = jax.lax.stop_gradient(voice)
        planned = self.prosody(noisy_prosody, time, None, read, its_voice, real)
        encoded = encoded + self.intonation(intonation)
        prior, x, mask = self.lay_out(encoded, durations, noisy.shape[1])
        known = keep[:, None, None]
        conditions = jax.lax.stop_gradient(prior) * known, x * known, voice * keep[:, None]
        return planned, prior, self.flow(noisy, time, *conditions, mask)

    def imitate(self, content, timing, voice, noisy, time, mask, melody):
        """The prior and the velocity of recorded frames, by what they say and not by their text.

        Args:
            content: what `recognise` gives of the frames [B, T, H].
            timing: likewise [B, T, 2].
            voice: embeddings [B, E] of who speaks.
            noisy: the frames on their way from noise [B, T, M], normalised.
            time: how far each clip is on it [B].
            mask: real frames [B, T].
            melody: as of `melody_of` [B, T, 3].

        Returns:
            Both [B, T, M].
        """
        voice = self._voice(voice)
        encoded = content + voice[:, None] + self.intonation(melody)
        prior, x = self._prior(encoded, timing, mask)
        return prior, self.flow(noisy, time, prior, x, voice, mask)

    def predict_durations(self, symbols, num_symbols, voice, speed=1.0, *, steps: int = 6):
        """How long symbols are held, and what they are laid out with, as `plan` has it.

        Args:
            symbols: as for `encode`, as are `num_symbols` and `voice`.
            num_symbols: [B] int.
            voice: [B, E].
            speed: as a multiple of the usual one.
            steps: as for `plan`.

        Returns:
            Frames of each symbol [B, L] int32, one at least; the `encode`d symbols with their
            intonation [B, L, H]; the voice [B, H].
        """
        encoded, voice = self.encode(symbols, num_symbols, voice)
        prosody = self.plan(encoded, num_symbols, voice, steps=steps)
        encoded = encoded + self.intonation(intonation_of(prosody))
        frames = jnp.exp(prosody[..., 0]) / speed
        mask = frame_mask(num_symbols, encoded.shape[1])
        # Rounded at their ends, so that errors do not add up; each symbol keeps a frame.
        frames = jnp.where(mask, frames.clip(1.0), 0.0)
        ends = jnp.round(jnp.cumsum(frames, axis=1))
        durations = jnp.diff(ends, prepend=0.0, axis=1)
        return jnp.where(mask, durations.clip(1.0), 0.0).astype(jnp.int32), encoded, voice

    def generate(self, encoded, voice, durations, noise, *, steps: int = 6, guidance: float = 0.0):
        """Frames drawn by the flow.

        Args:
            encoded: of `encode` [B, L, H].
            voice: of the same [B, H].
            durations: frames of each symbol [B, L] int.
            noise: to begin with [B, T, M]; of a smaller deviation than 1 the frames are plainer.
            steps: of the path.
            guidance: how far to go beyond what the conditions ask for.

        Returns:
            Frames [B, T, M], zero past the last one, normalised, and their number [B] int32.
        """
        prior, x, mask = self.lay_out(encoded, durations, noise.shape[1])
        frames = self._draw(prior, x, voice, mask, noise, steps, guidance)
        return frames, mask.sum(axis=1).astype(jnp.int32)

    def convert(
        self,
        frames,
        num_frames,
        voice,
        pitch,
        noise,
        text=None,
        *,
        steps: int = 6,
        guidance: float = 0.0,
    ):
        """Frames that say the same in another voice, frame by frame, with the same melody.

        A text makes the words certain; the recording says how they are spoken.

        Args:
            frames: of a recording [B, T, M], normalised.
            num_frames: real ones [B] int.
            voice: embeddings [B, E].
            pitch: of each frame in octaves above 100 Hz [B, T], NaN where none is voiced.
            noise: to begin with [B, T, M].
            text: of the recording, if it is known: symbols [B, L] int, real ones [B], and the
                frames of each [B, L] int, of which there are `num_frames` together.
            steps: as for `generate`, as is `guidance`.
            guidance: see there.

        Returns:
            Frames [B, T, M], zero past the last one, normalised.
        """
        mask = frame_mask(num_frames, frames.shape[1])
        content, timing, _ = self.recognise(frames, num_frames)
        if text is not None:
            symbols, num_symbols, durations = text
            spoken, its_voice = self.encode(symbols, num_symbols, voice)
            held, its_timing, _ = hold(spoken - its_voice[:, None], durations, frames.shape[1])
            content += TEXT_SHARE * (held - content)
            timing += TEXT_SHARE * (its_timing - timing)
        voice = self._voice(voice)
        encoded = content + voice[:, None]
        voiced = mask & ~jnp.isnan(pitch)
        # At which pitch and level the voice would speak:
        planned = self.plan(encoded, num_frames, voice, steps=steps)
        pitch -= mean_where(voiced, pitch - planned[..., 1])[:, None]
        energy = frames.mean(axis=-1)
        energy -= mean_where(mask, energy - planned[..., 3])[:, None]
        melody = melody_of(pitch, energy, mask)
        prior, x = self._prior(encoded + self.intonation(melody), timing, mask)
        return self._draw(prior, x, voice, mask, noise, steps, guidance)

    def _draw(self, prior, x, voice, mask, noise, steps: int, guidance: float):
        """Frames [B, T, M] at the end of the flow's path from noise."""
        conditions = prior, x, voice
        # In one batch, those without conditions stand behind those with them.
        both = [jnp.concatenate([each, 0 * each]) for each in conditions]
        masks = jnp.concatenate([mask, mask])

        def velocity(frames, time):
            if not guidance:
                return self.flow(frames, time, *conditions, mask)
            moving, times = (jnp.concatenate([each, each]) for each in (frames, time))
            known, free = jnp.split(self.flow(moving, times, *both, masks), 2)
            return known + guidance * (known - free)

        frames = follow(velocity, jnp.where(mask[..., None], noise, 0.0), steps)
        return jnp.where(mask[..., None], frames, 0.0)


def follow(velocity, noise, steps: int):
    """The end of the path of a flow from noise.

    Its steps are small where the path bends, at the beginning (Y. Chen et al., "F5-TTS: a
    fairytaler that fakes fluent and faithful speech with flow matching", 2024).

    Args:
        velocity: of what is on its way [B, ...] at times [B].
        noise: at the beginning [B, ...].
        steps: of the path.
    """
    times = 1 - jnp.cos(jnp.pi / 2 * jnp.linspace(0.0, 1.0, steps + 1))

    def advance(x, span):
        start, end = span
        return x + (end - start) * velocity(x, jnp.full(x.shape[0], start)), None

    return jax.lax.scan(advance, noise, (times[:-1], times[1:]))[0]


def intonation_of(prosody):
    """What the frames of a symbol are given of its prosody [B, L, 3] of [B, L, PROSODY].

    That is pitch, zero where nothing is voiced, voicing and energy.
    """
    _, pitch, voicing, energy = jnp.moveaxis(prosody, -1, 0)
    pitch = jnp.where(voicing > VOICED, pitch, 0.0)
    return jnp.stack([pitch, voicing.clip(0.0, 1.0), energy], axis=-1)


def melody_of(pitch, energy, mask):
    """The intonation of recorded frames, in the mean of the frames around each [B, T, 3].

    Args:
        pitch: in octaves above 100 Hz [B, T], NaN where none is voiced.
        energy: mean of the bands of each frame [B, T].
        mask: real frames [B, T].
    """
    voiced = mask & ~jnp.isnan(pitch)
    melody = jnp.stack([jnp.where(voiced, pitch, 0.0), voiced, energy], axis=-1)
    melody = moving_mean(jnp.where(mask[..., None], melody, 0.0), MELODY)
    # Where few frames around are voiced, their pitch is still theirs.
    share = jnp.maximum(melody[..., 1], 1 / MELODY)
    return melody.at[..., 0].divide(share)


def hold(encoded, durations, num_frames: int):
    """Features of symbols, each for as many frames as it lasts.

    Args:
        encoded: of each symbol [B, L, H].
        durations: frames of each symbol [B, L] int, zero on padding.
        num_frames: T, at least their largest sum.

    Returns:
        Those of the symbol of each frame [B, T, H]; how far it is over there, 0 to 1, and the
        logarithm of its frames [B, T, 2]; mask [B, T].
    """
    ends = jnp.cumsum(durations, axis=1)  # [B, L]
    frame = jnp.arange(num_frames)
    at = (ends[:, None] <= frame[:, None]).sum(axis=2)  # [B, T], the symbol that is held
    at = at.clip(max=encoded.shape[1] - 1)
    length = jnp.take_along_axis(durations, at, axis=1).clip(1)
    place = (frame - jnp.take_along_axis(ends, at, axis=1) + length + 0.5) / length
    held = jnp.take_along_axis(encoded, at[..., None], axis=1)
    timing = jnp.stack([place, jnp.log(length)], axis=-1)
    return held, timing, frame < ends[:, -1:]


def mean_where(mask, x):
    """The mean over the frames that a mask [B, T] has, [B] of x [B, T]; zero where it has none."""
    return jnp.where(mask, x, 0.0).sum(axis=1) / jnp.maximum(mask.sum(axis=1), 1)


def moving_mean(x, size: int, axis: int = 1, outside: str = "constant"):
    """The mean of an odd number of neighbours around each, such as of frames [B, T, D].

    Args:
        x: of any shape, which stays.
        size: how many.
        axis: along which they lie.
        outside: what lies beyond both ends, as `jnp.pad` has it; "constant" are zeros.
    """
    around = [(size // 2, size // 2) if each == axis else (0, 0) for each in range(x.ndim)]
    padded, count = jnp.pad(x, around, mode=outside), x.shape[axis]
    shifted = (
        jax.lax.slice_in_dim(padded, start, start + count, axis=axis) for start in range(size)
    )
    return sum(shifted) / size


def symbol_means(frames, durations):
    """The mean of the frames of each symbol [B, L, M].

    Args:
        frames: [B, T, M].
        durations: frames of each symbol [B, L] int; together no more than T.
    """
    sums = jnp.pad(jnp.cumsum(frames, axis=1), ((0, 0), (1, 0), (0, 0)))
    ends = jnp.cumsum(durations, axis=1)
    at = jnp.stack([ends - durations, ends])[..., None]  # [2, B, L, 1]
    first, last = (jnp.take_along_axis(sums, each, axis=1) for each in at)
    return (last - first) / durations.clip(1)[..., None]


class ContentEncoder(nn.Module):
    """What recorded frames say, whoever says it: the features of the symbols that they hold.

    It learns to give what the text encoder gives of the text that is spoken, frame by frame, and
    so stands in for it where there is only a recording; likewise learn recognisers of phonemes
    whose posteriors are spoken in another voice (L. Sun et al., "Phonetic posteriorgrams for
    many-to-one voice conversion without parallel data training", ICME 2016).

    Attributes:
        features: H, of a symbol.
        num_symbols: V.
        width: hidden features.
        dilations: of the blocks, in frames.
        dropout: of each block.
    """

    features: int
    num_symbols: int
    width: int
    dilations: tuple[int, ...]
    dropout: float

    @nn.compact
    def __call__(self, frames, mask, *, train=False):
        """Symbols of frames.

        Args:
            frames: normalised [B, T, M]; their mean over time, which tells of microphone and voice,
                does not count.
            mask: real ones [B, T].
            train: whether dropout is on (needs the "dropout" rng).

        Returns:
            Features of the symbol of each frame [B, T, H], its timing as of `hold` [B, T, 2], and
            logits of which one it is [B, T, V].
        """
        mask = mask[..., None]
        count = jnp.maximum(mask.sum(axis=1, keepdims=True), 1)
        frames = frames - jnp.where(mask, frames, 0.0).sum(axis=1, keepdims=True) / count
        x = Dense(self.width)(jnp.where(mask, frames, 0.0))
        for dilation in self.dilations:
            y = normalised(DepthwiseConv(dilation=dilation)(jnp.where(mask, x, 0.0)))
            y = Dense(self.width)(nn.gelu(Dense(2 * self.width)(y)))
            x = x + nn.Dropout(self.dropout, deterministic=not train)(y)
        x = normalised(x)
        return Dense(self.features)(x), Dense(2)(x), Dense(self.num_symbols)(x)


class Flow(nn.Module):
    """The velocity of frames on their way from noise to speech, or of the prosody of symbols.

    Convolutions that time and voice steer.

    Blocks as in Z. Liu et al., "A ConvNet for the 2020s", CVPR 2022, scaled and shifted by their
    conditions as in W. Peebles and S. Xie, "Scalable diffusion models with transformers", ICCV
    2023.
    """

    num_mels: int
    context: int
    width: int
    dilations: tuple[int, ...]
    expansion: int

    @nn.compact
    def __call__(self, noisy, time, prior, features, voice, mask):
        """Velocity [B, T, M].

        Args:
            noisy: frames [B, T, M].
            time: [B], 0 is noise and 1 speech.
            prior: first guess of the frames [B, T, M], or None.
            features: of the text, frame by frame [B, T, W].
            voice: [B, H].
            mask: real frames [B, T].
        """
        W = self.width
        frequencies = 2.0 ** jnp.linspace(0.0, 10.0, TIME_FREQUENCIES)
        angles = time[:, None] * frequencies
        clock = jnp.concatenate([jnp.sin(angles), jnp.cos(angles)], axis=-1)
        condition = nn.Dense(W)(nn.silu(nn.Dense(W)(clock))) + nn.Dense(W)(voice)
        steer = nn.Dense(3 * W)(nn.silu(condition))[:, None]  # [B, 1, 3 W]
        guess = () if prior is None else (prior,)
        x = jnp.concatenate([noisy, *guess, Dense(self.context)(features)], axis=-1)
        x = Dense(W)(x)
        for number, dilation in enumerate(self.dilations):
            offset = self.param(f"steer_{number}", nn.initializers.normal(0.02), (3 * W,))
            shift, scale, gate = jnp.split(steer + offset, 3, axis=-1)
            y = jnp.where(mask[..., None], x, 0.0)
            y = DepthwiseConv(dilation=dilation)(y)
            y = normalised(y) * (1 + scale) + shift
            y = Dense(W)(nn.gelu(Dense(self.expansion * W)(y)))
            x = x + (1 + gate) * y
        shift, scale = jnp.split(nn.Dense(2 * W)(nn.silu(condition))[:, None], 2, axis=-1)
        x = normalised(x) * (1 + scale) + shift
        velocity = Dense(self.num_mels, kernel_init=nn.initializers.zeros)(x)
        return jnp.where(mask[..., None], velocity, 0.0)
