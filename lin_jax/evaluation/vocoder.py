"""How near the waveforms of a vocoder come to the recordings whose mel frames it is given.

Shape letters: B clips, N samples.
"""

import functools
import pathlib
import time
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import ArrayLike

from lin_jax import metrics
from lin_jax.audio import files
from lin_jax.audio.frontend import extract, stft
from lin_jax.audio.griffin_lim import magnitude_to_waveform, mel_to_waveform
from lin_jax.bundles import Speech, Vocoder
from lin_jax.metrics import audio as audio_metrics
from lin_jax.reporting import html, plots

SYSTEMS = {
    "griffin_lim": "Griffin-Lim, of mel frames",
    "vocoder": "vocoder, of mel frames",
    "magnitudes": "Griffin-Lim, of the true magnitudes",
}
METRICS = {"pesq": "PESQ", "stoi": "STOI", "mcd": "MCD, dB", "lsd": "LSD, dB"}
ITERATIONS = 32  # of Griffin-Lim, beside a vocoder that does without it

_MEASURES = {
    "pesq": audio_metrics.pesq,
    "stoi": audio_metrics.stoi,
    "mcd": audio_metrics.mel_cepstral_distance,
    "lsd": audio_metrics.log_spectral_distance,
}


def evaluate(
    bundle: Vocoder, clean: np.ndarray, speakers: ArrayLike, corpora: ArrayLike
) -> tuple[dict, dict[str, np.ndarray]]:
    """Compare the waveforms of each of `SYSTEMS` with recordings.

    Args:
        bundle: the vocoder.
        clean: recordings at the rate and level of its front end [B, N], N a multiple of its hop.
        speakers: who speaks each [B].
        corpora: the corpus each is from [B].

    Returns:
        The results: "parameters"; "clips" and "speakers", their numbers; "real_time_factor" of each
        system; "systems", the mean of each of `METRICS` whose package is installed; "intervals",
        their 95 % intervals over the speakers; and "corpora", the means of each corpus. And the
        waveforms [B, N] of each system.
    """
    import jax

    speakers, corpora = np.asarray(speakers), np.asarray(corpora)
    rate = bundle.frontend.sample_rate
    waveforms, seconds = _resynthesize(bundle, clean)
    values = {
        system: audio_metrics.compare(_MEASURES, clean, estimates, rate)
        for system, estimates in waveforms.items()
    }

    def means(clips) -> dict:
        return {
            system: {name: float(np.nanmean(each[clips])) for name, each in by_metric.items()}
            for system, by_metric in values.items()
        }

    results = {
        "parameters": sum(leaf.size for leaf in jax.tree.leaves(bundle.variables["params"])),
        "clips": len(clean),
        "speakers": len(np.unique(speakers)),
        "real_time_factor": {
            system: spent / (clean.size / rate) for system, spent in seconds.items()
        },
        "systems": means(slice(None)),
        "intervals": {
            system: {
                name: metrics.bootstrap_mean(each, speakers, np.ones(len(each)))
                for name, each in by_metric.items()
            }
            for system, by_metric in values.items()
        },
        "corpora": {str(name): means(corpora == name) for name in np.unique(corpora)},
    }
    return results, waveforms


def summary(results: Mapping) -> str:
    """The means of each system, a line each."""
    return "\n".join(
        f"{SYSTEMS[system]}: "
        + ", ".join(f"{METRICS[name]} {value:.2f}" for name, value in means.items())
        for system, means in results["systems"].items()
    )


def card_metrics(results: Mapping) -> dict:
    """The metrics that a card quotes, by system; see `lin_jax.bundles.card`."""
    metrics = {}
    for system, title in SYSTEMS.items():
        means, intervals = results["systems"][system], results["intervals"][system]
        metrics[title] = {
            heading: {"value": means[name], "low": intervals[name][0], "high": intervals[name][1]}
            if name in means
            else None
            for name, heading in METRICS.items()
        }
    return metrics


def table_rows(results: Mapping) -> list[list[str]]:
    """A row for each system: its title, and the mean of each of `METRICS` with its interval."""
    rows = []
    for system, title in SYSTEMS.items():
        means, intervals = results["systems"][system], results["intervals"][system]
        cells = [
            f"{means[name]:.2f} ({intervals[name][0]:.2f} – {intervals[name][1]:.2f})"
            if name in means
            else "–"
            for name in METRICS
        ]
        rows.append([title, *cells])
    return rows


def report(
    results: Mapping,
    clean: np.ndarray,
    waveforms: Mapping[str, np.ndarray],
    examples: Sequence[tuple[str, int]],
    sample_rate: int,
    folder: pathlib.Path,
):
    """Write report.html: the means, bars by corpus, and examples to listen to.

    Args:
        results: of `evaluate`, with their "protocol".
        clean: recordings [B, N].
        waveforms: of `evaluate`.
        examples: names and numbers of the clips to listen to.
        sample_rate: of all of them, in Hz.
        folder: where to; there are the pictures and examples besides.
    """
    (folder / "examples").mkdir(parents=True, exist_ok=True)
    names = [name for name in METRICS if name in results["systems"]["vocoder"]]
    pictures = []
    for name in names:
        bars = {
            corpus: {system: means[name] for system, means in systems.items()}
            for corpus, systems in results["corpora"].items()
        }
        figure = plots.plot_groups(bars, folder / f"{name}.png", title=METRICS[name])
        pictures.append(html.picture(figure, METRICS[name]))
    cards = []
    for example, number in examples:
        for system, clips in {"original": clean, **waveforms}.items():
            samples = np.clip(clips[number], -1, 1)
            path = folder / f"examples/{example}-{number}-{system}.flac"
            if system == "original":
                files.write(path, samples, sample_rate)
            else:
                provenance = f"{system} by experiments.vocoder"
                speech = Speech.marked(samples, sample_rate, (), provenance)
                speech.write(path)
                samples = speech.samples
            figure = plots.plot_spectrogram(samples, sample_rate, path.with_suffix(".png"))
            parts = [html.picture(figure), html.player(samples, sample_rate)]
            cards.append((f"{example}: {system}", parts))
    rows = table_rows(results)
    sections = [
        html.Section(
            "All corpora", results["protocol"], [html.table(["system", *METRICS.values()], rows)]
        ),
        html.Section("By corpus", "", pictures),
        html.Section("Examples", "", [html.cards(cards)]),
    ]
    html.write_html(
        folder / "report.html", "Vocoder", sections, lead=f"{len(clean)} pieces of speech"
    )


def _resynthesize(bundle: Vocoder, clean) -> tuple[dict[str, np.ndarray], dict[str, float]]:
    """The waveforms [B, N] of each system, clip by clip, and the seconds it takes."""
    import jax

    frontend, N = bundle.frontend, clean.shape[1]

    @jax.jit
    def griffin_lim(features):
        return mel_to_waveform(frontend, features)[0]

    @jax.jit
    def vocoder(constants, features):
        num_frames = np.full(len(features), features.shape[1])
        return bundle.vocode(constants, features, num_frames)[0]

    @jax.jit
    def magnitudes(x):
        spectrum = stft(x, frontend.n_fft, frontend.hop_length, frontend.win_length)
        iterations = bundle.iterations or ITERATIONS
        return magnitude_to_waveform(frontend, abs(spectrum), iterations=iterations)[0]

    analyse = jax.jit(functools.partial(extract, frontend))
    frames = [np.asarray(analyse(x[None])[0]) for x in clean]
    systems = {
        "griffin_lim": (griffin_lim, frames),
        "vocoder": (functools.partial(vocoder, bundle.constants), frames),
        "magnitudes": (magnitudes, [x[None] for x in clean]),
    }
    waveforms, seconds = {}, {}
    for name, (synthesize, inputs) in systems.items():
        synthesize(inputs[0])  # which compiles
        began = time.perf_counter()
        waveforms[name] = np.concatenate([np.asarray(synthesize(x)) for x in inputs])[:, :N]
        seconds[name] = time.perf_counter() - began
    return waveforms, seconds
