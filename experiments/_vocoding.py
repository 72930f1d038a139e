"""What `experiments.vocoder` does: held-out speakers, the training, the judging, and the bundle.

Shape letters: B clips, N samples.
"""

import dataclasses
import functools
import json
import pathlib
import time

import jax
import numpy as np

from data_pipelines import features, loaders, splits
from data_pipelines.loaders import LoaderConfig
from experiments import _run
from lin_jax import bundles, metrics
from lin_jax.audio import files
from lin_jax.audio.frontend import extract, stft
from lin_jax.audio.griffin_lim import magnitude_to_waveform, mel_to_waveform
from lin_jax.errors import ConfigError
from lin_jax.metrics import audio as audio_metrics
from lin_jax.models.vocoder import SpectrumDecoder, SpectrumDiscriminator
from lin_jax.reporting import html, plots
from lin_jax.tasks.vocoding import Vocoding, VocodingConfig
from lin_jax.training import loop
from lin_jax.training.loop import TrainConfig
from lin_jax.training.optim import OptimConfig

SYSTEMS = {
    "griffin_lim": "Griffin-Lim, of mel frames",
    "vocoder": "vocoder, of mel frames",
    "magnitudes": "Griffin-Lim, of the true magnitudes",
}
FIGURES = {"pesq": "PESQ", "stoi": "STOI", "mcd": "MCD, dB", "lsd": "LSD, dB"}
MEASURES = {
    "pesq": audio_metrics.pesq,
    "stoi": audio_metrics.stoi,
    "mcd": audio_metrics.mel_cepstral_distance,
    "lsd": audio_metrics.log_spectral_distance,
}


@dataclasses.dataclass
class NetworkConfig:
    """Size of the network; see `SpectrumDecoder`."""

    width: int = 320
    dilations: tuple[int, ...] = (1, 2, 4, 8, 1, 2, 4, 8)


@dataclasses.dataclass
class Config:
    """Everything the experiment can be told.

    Attributes:
        hold_out: speakers of each corpus to judge on; at most a fifth of them.
        validation: speakers of each corpus to watch the training by; at most a tenth.
        seed: of the choice of speakers.
        eval_batches: batches of the validation speakers in an evaluation during training.
        judged_clips: of each corpus; the speakers held out take turns.
        judged_seconds: of each.
        examples: of each corpus, to listen to.
    """

    hold_out: int = 10
    validation: int = 4
    seed: int = 0
    eval_batches: int = 8
    judged_clips: int = 20
    judged_seconds: float = 4.0
    examples: int = 1
    network: NetworkConfig = dataclasses.field(default_factory=NetworkConfig)
    task: VocodingConfig = dataclasses.field(default_factory=VocodingConfig)
    optim: OptimConfig = dataclasses.field(default_factory=OptimConfig)
    train: TrainConfig = dataclasses.field(default_factory=TrainConfig)
    loader: LoaderConfig = dataclasses.field(default_factory=LoaderConfig)


class Experiment:
    """One or several corpora of clean speech, and the spectra that can be learnt from them.

    Args:
        config: see `Config`.
        folder: the feature set, or several with commas between them; their store is "waveform".
    """

    def __init__(self, config: Config, folder: pathlib.Path):
        self.config = config
        self.clips = features.open_features(folder, store="waveform")
        self.speakers, self.corpora = self.clips.speakers, self.clips.corpora
        people = self.clips.people
        self.split = splits.hold_out(
            people, self.corpora, config.hold_out, config.validation, seed=config.seed
        )

    def fit(self, workdir: pathlib.Path) -> tuple[Vocoding, loop.Result]:
        """Train on the training speakers; go on, or return at once, where that was done before."""
        config, task, watched = self.config, self.make_task(), self.split.validation
        train = loaders.make_loader(self.clips, self.split.train, None, config.loader, train=True)
        watch = functools.partial(
            loaders.crops, self.clips, watched, config.loader, config.eval_batches
        )
        return task, _run.fit(config, task, train, watch if len(watched) else None, workdir)

    def make_task(self) -> Vocoding:
        """The task, with the mean and deviation of the training clips."""
        config, frontend = self.config, self.clips.frontend
        network = SpectrumDecoder(
            frontend.n_fft // 2 + 1, config.network.width, tuple(config.network.dilations)
        )
        judge = SpectrumDiscriminator() if config.task.adversarial_weight else None
        return Vocoding(
            network, frontend, *self.clips.mean_std(self.split.train), judge, config.task
        )

    def evaluate(self, trained: pathlib.Path, workdir: pathlib.Path) -> dict:
        """Judge a training on the speakers held out: how near each of `SYSTEMS` comes to what was said.

        Writes results.json, examples to listen to, bars, and a page with all of them.

        Args:
            trained: workdir of the training.
            workdir: where to.
        """
        config, frontend = self.config, self.clips.frontend
        size = (
            round(config.judged_seconds * frontend.sample_rate)
            // frontend.hop_length
            * frontend.hop_length
        )
        clean, chosen = loaders.equal_segments(
            self.clips, self.split.test, size, config.judged_clips
        )
        if not len(clean):
            raise ConfigError(
                f"nobody held out speaks for {config.judged_seconds:g} s: lower judged_seconds"
            )
        task, fitted = self.fit(trained)
        speakers, corpora = self.speakers[chosen], self.corpora[chosen]
        waves, seconds = self._waveforms(task, fitted.variables, clean)
        figures = {
            system: audio_metrics.compare(MEASURES, clean, made, frontend.sample_rate)
            for system, made in waves.items()
        }

        def means(clips) -> dict:
            return {
                system: {name: float(np.nanmean(values[clips])) for name, values in own.items()}
                for system, own in figures.items()
            }

        results = {
            "protocol": self.split.protocol,
            "step": fitted.best_step or int(fitted.state.step),
            "parameters": sum(
                leaf.size for leaf in jax.tree.leaves(fitted.variables["params"]["vocoder"])
            ),
            "train_speakers": len(np.unique(self.speakers[self.split.train])),
            "clips": len(clean),
            "speakers": len(np.unique(speakers)),
            "times_real_time": {
                system: spent / (clean.size / frontend.sample_rate)
                for system, spent in seconds.items()
            },
            "systems": means(slice(None)),
            "intervals": {
                system: {
                    name: metrics.bootstrap_mean(values, speakers, np.ones(len(values)))
                    for name, values in own.items()
                }
                for system, own in figures.items()
            },
            "corpora": {str(name): means(corpora == name) for name in np.unique(corpora)},
        }
        workdir.mkdir(parents=True, exist_ok=True)
        (workdir / "results.json").write_text(json.dumps(results, indent=2) + "\n")
        for system, own in results["systems"].items():
            print(
                f"{SYSTEMS[system]}: "
                + ", ".join(f"{FIGURES[name]} {value:.2f}" for name, value in own.items())
            )
        self._show(results, clean, waves, corpora, workdir)
        return results

    def ship(self, workdir: pathlib.Path) -> pathlib.Path:
        """Save the training as a bundle.

        Args:
            workdir: of the experiment, with what `evaluate` wrote in the folder of that name.
        """
        results = _run.judged(workdir)
        task, fitted = self.fit(workdir / "train")
        bundle = bundles.Vocoder(
            "vocoder",
            task.model,
            self.clips.frontend,
            {"params": fitted.variables["params"]["vocoder"]},
            task.mean,
            task.std,
            iterations=task.config.iterations,
        )
        provenance = _run.provenance(
            self.clips,
            self.split.train,
            "python -m experiments.vocoder --mode=ship",
            summary="Makes the waveform of mel frames, such as those of a synthesizer.",
            protocol="Speakers that were not trained on, resynthesised from their own frames; what is "
            "given the true magnitudes, which mel frames lose, is the limit.",
            metrics={title: _metrics(results, system) for system, title in SYSTEMS.items()},
        )
        return bundles.save(
            workdir / "ship/vocoder", bundle, provenance=provenance, dtype="float16"
        )

    def _waveforms(self, task, variables, clean) -> tuple[dict[str, np.ndarray], dict[str, float]]:
        """What each system makes of clean speech [B, N], and the seconds it takes."""
        config, N, iterations = self.clips.frontend, clean.shape[1], task.config.iterations

        def magnitudes(x):
            spectrum = stft(x, config.n_fft, config.hop_length, config.win_length)
            return magnitude_to_waveform(config, abs(spectrum), iterations=iterations)[0]

        def vocode(features):
            num_frames = np.full(len(features), features.shape[1])
            return task.predict(variables, {"features": features, "num_frames": num_frames})[
                "waveform"
            ]

        heard = jax.jit(functools.partial(extract, config))
        made = {
            "griffin_lim": jax.jit(lambda features: mel_to_waveform(config, features)[0]),
            "vocoder": jax.jit(vocode),
            "magnitudes": jax.jit(magnitudes),
        }
        waves, seconds = {}, {}
        for system, make in made.items():
            given = [
                x[None] if system == "magnitudes" else np.asarray(heard(x[None])[0]) for x in clean
            ]
            make(given[0])  # which compiles
            began = time.perf_counter()
            waves[system] = np.concatenate([np.asarray(make(one)) for one in given])[:, :N]
            seconds[system] = time.perf_counter() - began
        return waves, seconds

    def _show(self, results, clean, waves, corpora, workdir):
        """Bars as pictures, examples as recordings, and a page with all of them."""
        rate = self.clips.frontend.sample_rate
        (workdir / "examples").mkdir(exist_ok=True)
        pictures = []
        names = [name for name in FIGURES if name in results["systems"]["vocoder"]]
        for name in names:
            title = FIGURES[name]
            bars = {
                corpus: {system: own[system][name] for system in own}
                for corpus, own in results["corpora"].items()
            }
            pictures.append(
                html.picture(plots.plot_groups(bars, workdir / f"{name}.png", title=title), title)
            )
        cards = []
        for corpus in np.unique(corpora):
            for number in np.flatnonzero(corpora == corpus)[: self.config.examples]:
                for system, samples in {"original": clean, **waves}.items():
                    sound, path = (
                        np.clip(samples[number], -1, 1),
                        workdir / f"examples/{corpus}-{number}-{system}.flac",
                    )
                    if system == "original":
                        files.write(path, sound, rate)
                    else:
                        bundles.Speech(sound, rate, (), f"{system} by experiments.vocoder").write(
                            path
                        )
                    figure = plots.plot_spectrogram(sound, rate, path.with_suffix(".png"))
                    cards.append(
                        (
                            f"{corpus}: {system}",
                            [html.picture(figure), html.player(sound, rate)],
                        )
                    )
        rows = [
            [SYSTEMS[one], *(f"{own[name]:.2f}" for name in names)]
            for one, own in results["systems"].items()
        ]
        sections = [
            html.Section(
                "All corpora",
                results["protocol"],
                [html.table(["system", *map(FIGURES.get, names)], rows)],
            ),
            html.Section("By corpus", "", pictures),
            html.Section("Examples", "", [html.cards(cards)]),
        ]
        html.write_html(
            workdir / "report.html", "Vocoder", sections, lead=f"{len(clean)} pieces of speech"
        )


def _metrics(results: dict, system: str) -> dict:
    """The metrics of a system as a card has them, with intervals."""
    values, intervals = results["systems"][system], results["intervals"][system]
    return {
        title: {"value": values[name], "low": intervals[name][0], "high": intervals[name][1]}
        if name in values
        else None
        for name, title in FIGURES.items()
    }
