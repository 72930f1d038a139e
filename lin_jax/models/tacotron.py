"""Speech from a text, or from another recording, in a given voice.

An encoder, attention, and a decoder of mel frames.

Shape letters: B batch, L source positions (symbols, or frames of a recording), T frames, M mel
bins, r frames a step, S = T / r steps, H hidden features, E embedding, V voice features.
"""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from flax import struct

from lin_jax.models.attention import KINDS
from lin_jax.models.layers import FusedLSTM, every, frame_mask
from lin_jax.models.registry import register


@struct.dataclass
class Decoded:
    """What a decoder makes.

    Attributes:
        coarse: frames before the post-net [B, T, M].
        mel: frames [B, T, M]; both zero at and past `num_frames`.
        num_frames: [B] int32.
        stop: logit that a step is the last one [B, S].
        attention: weights of the source positions in every step [B, S, L]; zero past the last step.
        stopped: whether it ended by itself [B] bool, and not at the longest that was allowed.
    """

    coarse: jax.Array
    mel: jax.Array
    num_frames: jax.Array
    stop: jax.Array
    attention: jax.Array
    stopped: jax.Array


class ConvolutionStack(nn.Module):
    """Convolutions of width 5 over time, each with LayerNorm, an activation and dropout."""

    widths: tuple[int, ...]
    strides: tuple[int, ...]
    dropout: float
    activation: Any = nn.relu
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, x, mask, *, train):
        """Maps x [B, T, D] under mask [B, T] to (x [B, T / strides, widths[-1]], its mask)."""
        for width, stride in zip(self.widths, self.strides, strict=True):
            x = jnp.where(mask[..., None], x, 0.0)
            x = nn.Conv(width, (5,), (stride,), padding=((2, 2),), dtype=self.dtype)(x)
            x = self.activation(nn.LayerNorm(dtype=self.dtype)(x))
            x = nn.Dropout(self.dropout, deterministic=not train)(x)
            mask = every(mask, stride)
        return jnp.where(mask[..., None], x, 0.0), mask


class Encoder(nn.Module):
    """Convolutions, then an LSTM in both directions."""

    hidden: int
    strides: tuple[int, ...]
    dropout: float
    unroll: int = 1
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, x, length, *, train):
        """Maps x [B, L, D] of length [B] to memory [B, L', H], zero on padding, and its mask [B, L']."""
        widths = (self.hidden,) * len(self.strides)
        x, mask = ConvolutionStack(widths, self.strides, self.dropout, dtype=self.dtype)(
            x, frame_mask(length, x.shape[1]), train=train
        )
        lstm = FusedLSTM(self.hidden // 2, True, self.unroll, self.dtype)
        nn.share_scope(self, lstm)  # the cells are the encoder's: parameters keep their names
        return lstm(x, mask.sum(axis=1)), mask


@struct.dataclass
class DecoderState:
    """What a decoder carries from step to step.

    Two LSTM states, weights, their sum [B, L], and the context [B, H].
    """

    attention_lstm: Any
    decoder_lstm: Any
    weights: jax.Array
    cumulative: jax.Array
    context: jax.Array


class DecoderCell(nn.Module):
    """One step of the decoder, the same one in training and in use."""

    hidden: int
    attention: str
    dtype: Any = jnp.float32

    def setup(self):
        """The parts."""
        self.attention_lstm = nn.OptimizedLSTMCell(self.hidden, dtype=self.dtype)
        self.decoder_lstm = nn.OptimizedLSTMCell(self.hidden, dtype=self.dtype)
        self.attend = KINDS[self.attention](dtype=self.dtype)

    def start(self, memory):
        """The state before the first step, and what attention computes once for memory [B, L, H]."""
        B, L, H = memory.shape
        weights, keys = self.attend.start(memory)
        zeros = jnp.zeros((B, self.hidden), memory.dtype)
        lstm = (zeros, zeros)
        return DecoderState(
            lstm, lstm, weights, jnp.zeros((B, L)), jnp.zeros((B, H), memory.dtype)
        ), keys

    def __call__(self, state, x, memory, keys, mask):
        """The next state, and what is read from it.

        Args:
            state: from `start`, or from the last step.
            x: the last frame through the pre-net [B, P].
            memory: the encoded source [B, L, H].
            keys: from `start`.
            mask: real positions [B, L].

        Returns:
            state, and (features [B, hidden + H] to make frames of, weights [B, L]).
        """
        attention_lstm, query = self.attention_lstm(
            state.attention_lstm, jnp.concatenate([x, state.context], axis=-1)
        )
        weights = self.attend(query, state.weights, state.cumulative, keys, mask)
        context = jnp.einsum("bl,blh->bh", weights.astype(memory.dtype), memory)
        decoder_lstm, output = self.decoder_lstm(
            state.decoder_lstm, jnp.concatenate([query, context], axis=-1)
        )
        state = DecoderState(
            attention_lstm, decoder_lstm, weights, state.cumulative + weights, context
        )
        return state, (jnp.concatenate([output, context], axis=-1), weights)


@register
class Tacotron(nn.Module):
    """A Tacotron 2 for many voices, whose source is symbols or recorded frames.

    J. Shen et al., "Natural TTS synthesis by conditioning WaveNet on mel spectrogram predictions",
    ICASSP 2018; voices as in Y. Jia et al., "Transfer learning from speaker verification to
    multispeaker text-to-speech synthesis", NeurIPS 2018. LayerNorm stands where they have
    BatchNorm, so that no clip depends on its batch.

    A source is a text, numbers of symbols [B, L] int, or a recording, features [B, L, D] float; the
    parameters of either encoder are there once it was used in `init`. A voice is a vector [B, E]
    float, whatever its length, or a number in a learnt table [B] int.

    Attributes:
        num_mels: M.
        num_symbols: rows of the symbol table.
        num_voices: rows of the learnt table of voices; 0 has none.
        reduction: r, frames made in one step.
        max_reduction: the largest `reduction` that the parameters serve: those of one hold for each
            up to it.
        symbol_features: of a symbol.
        encoder_hidden: features of a source position.
        voice_features: V, added to each source position.
        decoder_hidden: of both LSTMs.
        prenet: features of the last frame.
        postnet: widths of the convolutions that refine the frames.
        attention: "dynamic_convolution" or "location_sensitive".
        dropout: of the encoder and the post-net.
        unroll: steps of a recurrence computed together; more than one pays on a GPU.
        dtype: "float32" or "bfloat16", of the computation; frames, stops and weights are float32.
    """

    num_mels: int
    num_symbols: int = 0
    num_voices: int = 0
    reduction: int = 4
    max_reduction: int = 4
    symbol_features: int = 128
    encoder_hidden: int = 192
    voice_features: int = 64
    decoder_hidden: int = 256
    prenet: tuple[int, ...] = (256, 128)
    postnet: tuple[int, ...] = (192, 192, 192)
    attention: str = "dynamic_convolution"
    dropout: float = 0.2
    unroll: int = 1
    dtype: str = "float32"

    def setup(self):
        """The parts; those of a source that is never given have no parameters."""
        dtype = jnp.dtype(self.dtype)
        self.symbols = nn.Embed(max(self.num_symbols, 1), self.symbol_features, dtype=dtype)
        self.text_encoder = Encoder(
            self.encoder_hidden, (1, 1, 1), self.dropout, self.unroll, dtype
        )
        self.speech_encoder = Encoder(
            self.encoder_hidden, (2, 2, 1), self.dropout, self.unroll, dtype
        )
        self.voices = nn.Embed(max(self.num_voices, 1), self.voice_features, dtype=dtype)
        self.voice = nn.Dense(self.voice_features, dtype=dtype)
        self.prenet_layers = [nn.Dense(width, dtype=dtype) for width in self.prenet]
        self.cell = DecoderCell(self.decoder_hidden, self.attention, dtype)
        self.frame_projection = nn.Dense(self.max_reduction * self.num_mels)
        self.stop_projection = nn.Dense(1)
        strides = (1,) * len(self.postnet)
        self.postnet_layers = ConvolutionStack(self.postnet, strides, self.dropout, nn.tanh, dtype)
        self.to_residual = nn.Dense(self.num_mels, kernel_init=nn.initializers.zeros)

    def __call__(
        self, source, source_length, voice, frames, num_frames, *, train, prenet_dropout=0.0
    ):
        """Decodes with each step given the recorded frames before it (teacher forcing).

        Args:
            source: text [B, L] int or recording [B, L, D] float.
            source_length: real positions [B] int.
            voice: [B, E] float or [B] int.
            frames: the target [B, T, M], normalised; frames past `num_frames` do not
                matter.
            num_frames: [B] int.
            train: whether dropout is on (needs the "dropout" rng).
            prenet_dropout: share of the last frame's features that is withheld, with `train`; it
                may be traced.

        Returns:
            `Decoded` with T rounded up to a multiple of r.
        """
        r = self.reduction
        frames = jnp.where(frame_mask(num_frames, frames.shape[1])[..., None], frames, 0.0)
        frames = jnp.pad(frames, ((0, 0), (0, -frames.shape[1] % r), (0, 0)))
        B, T, M = frames.shape
        memory, mask = self.encode(source, source_length, voice, train=train)
        state, keys = self.cell.start(memory)
        last = jnp.concatenate(
            [jnp.zeros((B, 1, M)), frames[:, r - 1 : T - 1 : r]], axis=1
        )  # [B, S, M]
        drop = (self.make_rng("dropout"), prenet_dropout) if train else None
        x = jax.vmap(self._prenet, (1, 0, None), 1)(last, jnp.arange(T // r), drop)  # [B, S, P]
        scan = nn.scan(
            lambda cell, state, x, *source: cell(state, x, *source),
            variable_broadcast="params",
            split_rngs={"params": False},
            in_axes=(1, nn.broadcast, nn.broadcast, nn.broadcast),
            out_axes=1,
            unroll=self.unroll,
        )
        _, (features, attention) = scan(self.cell, state, x, memory, keys, mask)
        coarse, stop = self._read(features)
        steps = frame_mask(-(-num_frames // r), T // r)
        attention = jnp.where(steps[..., None], attention, 0.0)
        return self._finish(
            coarse.reshape(B, T, M), num_frames, stop, attention, jnp.ones(B, bool), train=train
        )

    def generate(
        self, source, source_length, voice, *, max_frames: int, key=None, prenet_dropout=0.5
    ):
        """Speaks on its own, each clip until it stops by itself.

        Args:
            source: text [B, L] int or recording [B, L, D] float.
            source_length: real positions [B] int.
            voice: [B, E] float or [B] int.
            max_frames: T, frames after which it is stopped.
            key: source of the pre-net's dropout; None has none, and the clips of a batch are what
                each is alone.
            prenet_dropout: its share.

        Returns:
            `Decoded` with T rounded up to a multiple of r.
        """
        r, M = self.reduction, self.num_mels
        memory, mask = self.encode(source, source_length, voice, train=False)
        (B, L), S = mask.shape, -(-max_frames // r)
        state, keys = self.cell.start(memory)
        drop = None if key is None else (key, prenet_dropout)

        def going_on(_, carry):
            step, num_steps = carry[:2]
            return (step < S) & jnp.any(num_steps == S + 1)

        def take_step(self, carry):
            step, num_steps, last, state, frames, stops, attention = carry
            state, (features, weights) = self.cell(
                state, self._prenet(last, step, drop), memory, keys, mask
            )
            made, stop = self._read(features)
            num_steps = jnp.where((num_steps == S + 1) & (stop > 0), step + 1, num_steps)
            frames = jax.lax.dynamic_update_index_in_dim(frames, made, step, 1)
            stops = jax.lax.dynamic_update_index_in_dim(stops, stop, step, 1)
            attention = jax.lax.dynamic_update_index_in_dim(attention, weights, step, 1)
            return step + 1, num_steps, made[:, -M:], state, frames, stops, attention

        unknown = jnp.full(B, S + 1, jnp.int32)  # steps of a clip that has not ended
        outputs = jnp.zeros((B, S, r * M)), jnp.zeros((B, S)), jnp.zeros((B, S, L))
        carry = (jnp.zeros((), jnp.int32), unknown, jnp.zeros((B, M)), state, *outputs)
        _, num_steps, _, _, frames, stop, attention = nn.while_loop(
            going_on, take_step, self, carry
        )
        stopped, num_steps = num_steps <= S, jnp.minimum(num_steps, S)
        steps = frame_mask(num_steps, S)
        stop, attention = jnp.where(steps, stop, 0.0), jnp.where(steps[..., None], attention, 0.0)
        return self._finish(
            frames.reshape(B, S * r, M), num_steps * r, stop, attention, stopped, train=False
        )

    def encode(self, source, source_length, voice, *, train=False):
        """The memory [B, L', H + V] that is attended to, zero on padding, and its mask [B, L']."""
        if jnp.issubdtype(source.dtype, jnp.integer):
            memory, mask = self.text_encoder(self.symbols(source), source_length, train=train)
        else:
            memory, mask = self.speech_encoder(source, source_length, train=train)
        if jnp.issubdtype(voice.dtype, jnp.integer):
            voice = self.voices(voice)
        else:  # in direction alone, so that encoders of any scale will do
            norm = jnp.sqrt(jnp.maximum(jnp.mean(voice**2, axis=-1, keepdims=True), 1e-12))
            voice = self.voice(voice / norm)
        voice = jnp.broadcast_to(jnp.tanh(voice)[:, None], (*memory.shape[:2], voice.shape[-1]))
        return jnp.where(mask[..., None], jnp.concatenate([memory, voice], axis=-1), 0.0), mask

    def _prenet(self, frame, step, drop):
        """The last frame [B, M] as features [B, P].

        `drop` is None, or the key of all steps and a share.
        """
        x = frame
        for number, layer in enumerate(self.prenet_layers):
            x = nn.relu(layer(x))
            if drop is not None:
                key, share = jax.random.fold_in(jax.random.fold_in(drop[0], step), number), drop[1]
                x = jnp.where(
                    jax.random.bernoulli(key, 1.0 - share, x.shape), x / (1.0 - share), 0.0
                )
        return x

    def _read(self, features):
        """Frames [..., r × M] and stop logits [...] from what the cell gives [..., H]."""
        features = features.astype(jnp.float32)
        return self.frame_projection(features)[
            ..., : self.reduction * self.num_mels
        ], self.stop_projection(features)[..., 0]

    def _finish(self, coarse, num_frames, stop, attention, stopped, *, train):
        valid = frame_mask(num_frames, coarse.shape[1])
        refined, _ = self.postnet_layers(coarse, valid, train=train)
        mel = coarse + self.to_residual(refined.astype(jnp.float32))
        coarse, mel = (jnp.where(valid[..., None], x, 0.0) for x in (coarse, mel))
        return Decoded(coarse, mel, num_frames.astype(jnp.int32), stop, attention, stopped)
