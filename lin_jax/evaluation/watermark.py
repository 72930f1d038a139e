"""How often the watermark of generated speech is found, and how often where it is not.

Shape letters: B clips, W windows, J keys, N samples.
"""

import io
import math
from collections.abc import Callable, Iterable, Sequence

import numpy as np

from lin_jax.audio import files, mixing, watermark
from lin_jax.metrics import audio as audio_metrics

CUT_SECONDS = 3.0
NOISE_SNR_DB, GAIN_DB = 20.0, 6.0
PESQ_RATE = 16000
TAIL = 0.05  # highest share of scores, to which the tail is fitted

Clip = tuple[np.ndarray, int]  # waveform [N] and its sample rate in Hz


def _coded(codec: str, container: str, bit_rate: int, encoder_rate: int | None = None):
    """What a lossy codec of PyAV leaves of a clip."""

    def change(samples, sample_rate, rng) -> Clip:
        import av

        rate = encoder_rate or sample_rate
        samples = np.clip(files.resample(samples, sample_rate, rate), -1, 1)
        buffer = io.BytesIO()
        with av.open(buffer, "w", format=container) as output:
            stream = output.add_stream(codec, rate=rate, layout="mono", bit_rate=bit_rate)
            integers = (32767 * samples).astype(np.int16)[None]
            frame = av.AudioFrame.from_ndarray(integers, format="s16", layout="mono")
            frame.sample_rate = rate
            for packet in [*stream.encode(frame), *stream.encode(None)]:
                output.mux(packet)
        buffer.seek(0)
        with av.open(buffer) as source:
            resampler = av.AudioResampler(format="flt", layout="mono")
            parts = [
                part.to_ndarray()[0]
                for frame in source.decode(audio=0)
                for part in resampler.resample(frame)
            ]
            return np.concatenate(parts), source.streams.audio[0].rate

    return change


def _noisy(samples, sample_rate, rng) -> Clip:
    return mixing.add_noise(samples, rng.standard_normal(len(samples)), NOISE_SNR_DB), sample_rate


def _resampled(samples, sample_rate, rng) -> Clip:
    return files.resample(samples, sample_rate, 8000), 8000


def _louder(gain_db: float):
    """A clip at another level, cut at full scale."""
    return lambda samples, rate, rng: (np.clip(10 ** (gain_db / 20) * samples, -1, 1), rate)


CHANGES: dict[str, Callable[[np.ndarray, int, np.random.Generator], Clip]] = {
    "none": lambda samples, sample_rate, rng: (samples, sample_rate),
    "MP3, 64 kbit/s": _coded("libmp3lame", "mp3", 64_000),
    "Opus, 24 kbit/s": _coded("libopus", "ogg", 24_000, 48_000),
    "8 kHz": _resampled,
    "telephone": lambda samples, sample_rate, rng: mixing.telephone(samples, sample_rate),
    "white noise, 20 dB": _noisy,
    "+6 dB": _louder(GAIN_DB),
    "−6 dB": _louder(-GAIN_DB),
}


def detection(clips: Sequence[Clip], *, seed: int = 0) -> dict[str, dict]:
    """How often marked clips are found after each of `CHANGES`, whole and cut to `CUT_SECONDS`.

    Args:
        clips: waveforms without the watermark, which is added here.
        seed: of the noise, and of where the cuts begin.

    Returns:
        By change, and by change and ", cut": "clips", "found", "rate", and the 1st percentile of
        "score"; and where it is installed "pesq" of marked against unmarked clips: their number,
        "mean" and "min".
    """
    rng = np.random.default_rng(seed)
    results: dict[str, list[watermark.Detection]] = {}
    pesq, measured = [], audio_metrics.installed(audio_metrics.pesq)
    for samples, rate in clips:
        marked = watermark.mark(samples, rate)
        if measured:
            clean, with_mark = (files.resample(x, rate, PESQ_RATE) for x in (samples, marked))
            pesq.append(audio_metrics.pesq(clean, with_mark, PESQ_RATE))
        for name, change in CHANGES.items():
            changed, new_rate = change(marked, rate, rng)
            size = round(CUT_SECONDS * new_rate)
            start = rng.integers(0, max(1, len(changed) - size))
            for cut, part in (("", changed), (", cut", changed[start : start + size])):
                results.setdefault(name + cut, []).append(watermark.detect(part, new_rate))
    rows = {
        name: {
            "clips": len(detections),
            "found": sum(detection.marked for detection in detections),
            "rate": float(np.mean([detection.marked for detection in detections])),
            "score": float(np.percentile([detection.score for detection in detections], 1)),
        }
        for name, detections in results.items()
    }
    if pesq:
        rows["pesq"] = {"clips": len(pesq), "mean": float(np.mean(pesq)), "min": float(min(pesq))}
    return rows


def false_alarms(clips: Iterable[Clip], *, keys: int = 16, seed: int = 0) -> dict:
    """How often windows of `CUT_SECONDS` without the watermark are taken for marked.

    The scores of other keys, which nobody can have added, tell more of the tail than there are
    windows. Beyond the data it is fitted to z²/2 of the `TAIL` highest scores, which is nearly
    exponential (J. Pickands, "Statistical inference using extreme order statistics", Annals of
    Statistics 3(1), 1975).

    Args:
        clips: waveforms without the watermark.
        keys: number of other keys, J.
        seed: of these keys.

    Returns:
        "threshold", the score from which a window counts as marked; and of the "key" that ships
        and of the "other_keys": "scores" their number, "highest", "found" those beyond the
        threshold, and "tail" the fitted probability of that.
    """
    rng = np.random.default_rng(seed)
    shape = keys, watermark.CELLS, watermark.BANDS
    others = rng.choice([-1.0, 1.0], size=shape)
    scores, other_scores = [], []
    for samples, rate in clips:
        samples = files.resample(samples, rate, watermark.RATE)
        size = round(CUT_SECONDS * watermark.RATE)
        for start in range(0, len(samples) - size + 1, size):
            window = samples[start : start + size]
            scores.append(watermark.score(window))
            other_scores.append(watermark.score(window, others))
    bound = watermark.false_alarm(0.0) / watermark.MAX_FALSE_ALARM
    threshold = math.sqrt(2 * math.log(bound))
    return {
        "threshold": threshold,
        "key": _tail(np.array(scores), threshold),
        "other_keys": _tail(np.ravel(other_scores), threshold),
    }


def _tail(scores: np.ndarray, threshold: float) -> dict:
    """What `false_alarms` says of scores [W]."""
    height = scores**2 / 2
    start = np.quantile(height, 1 - TAIL)
    mean = np.mean(height[height > start] - start)
    return {
        "scores": len(scores),
        "highest": float(scores.max()),
        "found": int(np.sum(scores >= threshold)),
        "tail": float(TAIL * np.exp(-max(0.0, threshold**2 / 2 - start) / mean)),
    }
