"""What `experiments.repair` does: held-out speakers and noises, the training, the judging, and the bundle.

Shape letters: B clips, N samples.
"""

import dataclasses
import functools
import importlib.util
import json
import pathlib
import time
from collections.abc import Iterator

import jax
import numpy as np

from data_pipelines import features, loaders, splits
from data_pipelines.loaders import LoaderConfig
from experiments import _run
from lin_jax import bundles, metrics
from lin_jax.audio import degrade, files, mixing
from lin_jax.audio.degrade import DegradeConfig, NoisePool, RoomPool
from lin_jax.errors import ConfigError
from lin_jax.metrics import audio as audio_metrics
from lin_jax.models.autoencoder import MelAutoencoder, SpectralAutoencoder
from lin_jax.reporting import html, plots
from lin_jax.tasks.repair import Repair, RepairConfig
from lin_jax.training import loop
from lin_jax.training.loop import TrainConfig
from lin_jax.training.optim import OptimConfig

CLEAR_DB = 35.0  # between the loud and the soft frames of a clip: clearer ones are heard more often
FRAME_SECONDS = 0.02

SNRS_DB = (0, 5, 10, 15)  # at which is judged
SEVERITIES = (0.2, 0.5, 0.8)
EXAMPLES = ("5 dB", f"{SEVERITIES[1]:g}")  # amounts of damage of which there are examples to hear
SYSTEMS = ("untouched", "gated", "repaired")
FIGURES = {"si_sdr": "SI-SDR, dB", "pesq": "PESQ", "stoi": "STOI", "lsd": "LSD, dB"}
MAX_DB = 100.0  # of a clip's SI-SDR: that of an untouched clean clip is infinite


@dataclasses.dataclass
class EncoderConfig:
    """Size of the default network; see `SpectralAutoencoder`."""

    n_fft: int = 512
    hop_length: int = 256
    width: int = 32
    inner_width: int = 64
    outer: tuple[int, ...] = (1,)
    inner: tuple[int, ...] = (2,)
    bottleneck: int = 16
    hidden: int = 256
    middle: tuple[int, ...] = (1, 2, 4, 8, 16, 32, 16, 8, 4, 2, 1)
    causal: bool = False


@dataclasses.dataclass
class Config:
    """Everything the experiment can be told.

    Attributes:
        network: "spectral", of the size in `encoder`, or "mel", the network of the original
            project.
        init: name or folder of a repair bundle to go on from, whose network is of the same size, or
            lacks no more than convolutions at the end of its middle.
        noise: feature set of recorded noises; without one, all noise is generated.
        rooms: folder of recorded room responses, audio files; without one, all rooms are generated.
        hold_out: speakers of each corpus to judge on; at most a fifth of them, so that a tiny
            corpus only trains.
        hold_out_noises: recorded noises to judge in; at most a fifth of them.
        validation: speakers of each corpus to watch the training by; at most a tenth.
        seed: of the choice of speakers and noises.
        clear_weight: how many times more often than others those clips are drawn in which the
            background is faint.
        eval_batches: batches of the validation speakers in an evaluation during training.
        shifts: of the default network where it is judged and shipped; see `SpectralAutoencoder`.
        adaptive_mix: how much of a slight change is made where it is judged and shipped, as in
            `bundles.AdaptiveMix`.
        judged_clips: of each corpus; the speakers held out take turns.
        judged_seconds: of a clip; it is what a speaker says in one recording after the other.
        damaged_every: every how many of these clips is judged with other damage than noise.
        scored_every: every how many of them gets the quality score, which takes long.
    """

    network: str = "spectral"
    init: str = ""
    noise: str = ""
    rooms: str = ""
    hold_out: int = 25
    hold_out_noises: int = 12
    validation: int = 12
    seed: int = 0
    clear_weight: int = 2
    eval_batches: int = 8
    shifts: int = 2
    adaptive_mix: tuple[float, ...] = (-22.0, -12.0, 0.2)
    judged_clips: int = 20
    judged_seconds: float = 8.0
    damaged_every: int = 3
    scored_every: int = 8
    encoder: EncoderConfig = dataclasses.field(default_factory=EncoderConfig)
    task: RepairConfig = dataclasses.field(default_factory=RepairConfig)
    degrade: DegradeConfig = dataclasses.field(default_factory=DegradeConfig)
    optim: OptimConfig = dataclasses.field(default_factory=OptimConfig)
    train: TrainConfig = dataclasses.field(default_factory=TrainConfig)
    loader: LoaderConfig = dataclasses.field(default_factory=LoaderConfig)


class Experiment:
    """One or several corpora of clean speech, recorded noises, and the repair that can be learnt from them.

    Args:
        config: see `Config`.
        folder: the feature set, or several with commas between them; their store is "waveform".
    """

    def __init__(self, config: Config, folder: pathlib.Path):
        if config.network not in ("spectral", "mel"):
            raise ConfigError(f"unknown network {config.network!r}: choose spectral or mel")
        self.config = config
        self.start = bundles.load(config.init) if config.init else None
        self.clips = features.open_features(
            folder, self.start and self.start.frontend, store="waveform"
        )
        self.speakers, self.corpora = self.clips.speakers, self.clips.corpora
        people = self.clips.people
        self.split = splits.hold_out(
            people, self.corpora, config.hold_out, config.validation, seed=config.seed
        )
        self.noises = (
            features.open_features(config.noise, self.clips.frontend) if config.noise else []
        )
        shuffled = np.random.default_rng(config.seed).permutation(len(self.noises))
        self.unheard_noises, self.heard_noises = np.split(
            shuffled, [min(config.hold_out_noises, len(self.noises) // 5)]
        )

    def fit(self, workdir: pathlib.Path) -> tuple[Repair, loop.Result]:
        """Train on the training speakers and noises; go on, or return at once, where that was done before."""
        config, task = self.config, self.make_task()
        train = loaders.make_loader(
            self.clips, self._drawn(self.split.train), None, config.loader, train=True
        )
        watched = self.split.validation
        watch = functools.partial(
            loaders.crops, self.clips, watched, config.loader, config.eval_batches
        )
        watch = watch if len(watched) else None
        params = None
        if self.start:
            shapes = jax.eval_shape(task.init, jax.random.key(0))["params"]
            params = _run.start_from(_deepened(self.start, task.model), shapes)
        return task, _run.fit(config, task, train, watch, workdir, params=params)

    def evaluate(self, trained: pathlib.Path, workdir: pathlib.Path) -> dict:
        """Judge a training on the speakers and noises held out, as `lin repair` would use it.

        Beside it stand the untouched recording and, where noisereduce is installed, its spectral
        gating. Writes results.json, examples to listen to, bars by kind of damage, and a page with
        all of them.

        Args:
            trained: workdir of the training.
            workdir: where to.
        """
        if not len(self.split.test):
            raise ConfigError(
                "no speakers to judge on: raise hold_out, or add a corpus of 5 speakers"
            )
        rate = self.clips.frontend.sample_rate
        size = round(self.config.judged_seconds * rate)
        clean, chosen = loaders.equal_segments(
            self.clips, self.split.test, size, self.config.judged_clips
        )
        if not len(clean):
            raise ConfigError(
                f"nobody held out speaks for {self.config.judged_seconds:g} s: lower judged_seconds"
            )
        speakers, corpora = self.speakers[chosen], self.corpora[chosen]
        task, fitted = self.fit(trained)
        bundle = self._bundle(task, fitted)
        bundle.repair(clean[0], rate)  # which compiles
        judged, examples, seconds, heard = [], [], 0.0, 0.0
        for damage, amount, chosen, damaged in self._damages(clean):
            began = time.perf_counter()
            waves = {
                "untouched": damaged,
                "repaired": np.stack([bundle.repair(x, rate) for x in damaged]),
            }
            seconds, heard = seconds + time.perf_counter() - began, heard + damaged.size / rate
            if importlib.util.find_spec("noisereduce"):
                waves["gated"] = np.stack([_gate(x, rate) for x in damaged])
            scored = self.config.scored_every if damage in ("clean", "noise") else 0
            figures = {name: _figures(clean[chosen], waves[name], rate, scored) for name in waves}
            judged.append(_Judged(damage, amount, chosen, figures))
            print(f"{f'{damage} {amount}'.strip()}: {_told(judged[-1].means())}")
            if amount in EXAMPLES:
                examples.append(
                    (
                        f"{damage} {amount}".strip(),
                        {"clean": clean[chosen[0]]} | {n: waves[n][0] for n in waves},
                    )
                )

        noisy = _join([one for one in judged if one.damage == "noise"])
        results = {
            "protocol": f"{self.split.protocol}, with noises that were held out too",
            "step": fitted.best_step or int(fitted.state.step),
            "parameters": sum(leaf.size for leaf in jax.tree.leaves(fitted.variables["params"])),
            "train_speakers": len(np.unique(self.speakers[self.split.train])),
            "train_noises": len(self.heard_noises),
            "speakers": {
                str(name): np.unique(speakers[corpora == name]).tolist()
                for name in np.unique(corpora)
            },
            "noises": [self.noises.rows[int(index)]["id"] for index in self.unheard_noises],
            "times_real_time": seconds / heard,
            "noise": noisy.means() | {"intervals": noisy.intervals(speakers)},
            "noise_by_corpus": {
                str(name): noisy.of(np.flatnonzero(corpora == name)).means()
                for name in np.unique(corpora)
            },
            "damages": {
                damage: _join([one for one in judged if one.damage == damage]).means()
                for damage in dict.fromkeys(one.damage for one in judged)
            },
            "conditions": [
                {"damage": one.damage, "amount": one.amount} | one.means() for one in judged
            ],
        }
        workdir.mkdir(parents=True, exist_ok=True)
        (workdir / "results.json").write_text(json.dumps(results, indent=2) + "\n")
        self._show(results, examples, workdir)
        return results

    def ship(self, workdir: pathlib.Path) -> pathlib.Path:
        """Save the training as a bundle.

        Args:
            workdir: of the experiment, with what `evaluate` wrote in the folder of that name.
        """
        results = _run.judged(workdir)
        bundle = self._bundle(*self.fit(workdir / "train"))
        metrics = {
            f"{one['damage']}, {one['amount']}" if one["amount"] else one["damage"]: {
                title: _change(one, name) for name, title in FIGURES.items()
            }
            for one in results["conditions"]
        }
        intervals = {
            FIGURES[name]: {
                "value": results["noise"]["repaired"].get(name),
                "low": low,
                "high": high,
            }
            for name, (low, high) in results["noise"]["intervals"].items()
        }
        provenance = _run.provenance(
            self.clips,
            self.split.train,
            "python -m experiments.repair --mode=ship",
            self.config.init,
            summary="Restores damaged or noisy speech: noise, clipping, drop-outs, hum, narrow bands, "
            "rooms.",
            protocol=results["protocol"],
            reference="the damaged recording, after it the restored one, both against the clean one",
            metrics=metrics | ({"noise, all amounts": intervals} if intervals else {}),
        )
        if len(self.heard_noises):
            provenance["corpora"] += self.noises.describe(self.heard_noises)
        return bundles.save(workdir / "ship/repair", bundle, provenance=provenance, dtype="float16")

    def make_task(self) -> Repair:
        """The task, with the noises that are not held out."""
        config, rate = self.config, self.clips.frontend.sample_rate
        size = {"n_fft": config.encoder.n_fft, "hop_length": config.encoder.hop_length}
        if config.network == "mel":
            network = MelAutoencoder(rate, **size)
        else:
            settings = dataclasses.asdict(config.encoder)
            settings |= {name: tuple(settings[name]) for name in ("outer", "inner", "middle")}
            network = SpectralAutoencoder(rate, **settings)
        pool, degrade = None, config.degrade
        if len(self.heard_noises):
            pool = NoisePool.of(
                [self.noises[int(index)]["waveform"] for index in self.heard_noises]
            )
        else:
            degrade = dataclasses.replace(degrade, kinds=(0.0, *degrade.kinds[1:]))
        return Repair(network, rate, pool, config.task, degrade, _rooms(config.rooms, rate))

    def _bundle(self, task: Repair, fitted: loop.Result) -> bundles.Repairer:
        network = task.model
        if isinstance(network, SpectralAutoencoder):
            network = network.clone(shifts=self.config.shifts)
        adaptive_mix = (
            bundles.AdaptiveMix(*self.config.adaptive_mix) if self.config.adaptive_mix else None
        )
        return bundles.Repairer(
            "repair", network, self.clips.frontend, fitted.variables, adaptive_mix
        )

    def _damages(self, clean) -> Iterator[tuple[str, str, np.ndarray, np.ndarray]]:
        """Kind and amount of damage, the clips [b] that it is done to, and them with it [b, N]; always the same."""
        B, N = clean.shape
        rate = self.clips.frontend.sample_rate
        everyone, some = np.arange(B), np.arange(0, B, self.config.damaged_every)
        yield "clean", "", everyone, clean
        for number, snr in enumerate(SNRS_DB):
            if len(self.unheard_noises):
                chosen = self.unheard_noises[(everyone + number * 5) % len(self.unheard_noises)]
                noise = np.stack(
                    [np.resize(self.noises[int(index)]["waveform"], N) for index in chosen]
                )
            else:
                noise = mixing.coloured_noise(jax.random.key(number), B, N)
            yield (
                "noise",
                f"{snr} dB",
                everyone,
                np.asarray(mixing.mix(clean, noise, np.full(B, float(snr)))),
            )
        for name, damage in degrade.DAMAGES.items():
            for severity in SEVERITIES:
                damaged = damage(jax.random.key(0), clean[some], np.full(len(some), severity), rate)
                yield name, f"{severity:g}", some, np.asarray(damaged)

    def _show(self, results, examples, workdir):
        """Bars and spectrograms as pictures, examples as recordings, and a page with all of them."""
        rate = self.clips.frontend.sample_rate
        (workdir / "examples").mkdir(exist_ok=True)
        parts = []
        for name, title in FIGURES.items():
            groups = {
                damage: {
                    system: means[system][name]
                    for system in SYSTEMS
                    if name in means.get(system, {})
                }
                for damage, means in results["damages"].items()
            }
            if any(groups.values()):
                path = workdir / f"{name}.png"
                parts.append(html.picture(plots.plot_groups(groups, path, title=title), title))
        cards = []
        for name, waves in examples:
            for system, samples in waves.items():
                stem = f"{name}-{system}".replace(" ", "-")
                files.write(workdir / f"examples/{stem}.flac", np.clip(samples, -1, 1), rate)
                figure = plots.plot_spectrogram(samples, rate, workdir / f"examples/{stem}.png")
                cards.append(
                    (f"{name}: {system}", [html.picture(figure), html.player(samples, rate)])
                )
        header = ["damage", "amount", "system", *FIGURES.values()]
        table = [
            [
                one["damage"],
                one["amount"],
                system,
                *(_number(one[system].get(name)) for name in FIGURES),
            ]
            for one in results["conditions"]
            for system in SYSTEMS
            if system in one
        ]
        sections = [
            html.Section("By kind of damage", "Means over all amounts of it.", parts),
            html.Section("Examples", "", [html.cards(cards)]),
            html.Section("All figures", results["protocol"], [html.table(header, table)]),
        ]
        html.write_html(workdir / "report.html", "Repair", sections, lead=_told(results["noise"]))

    def _drawn(self, indices) -> np.ndarray:
        """Clips as often as they are drawn in an epoch: for each crop once, and more often where they are clear."""
        config, rate = self.config, self.clips.frontend.sample_rate
        crops = np.ceil(self.clips.lengths[indices] / (config.loader.crop_seconds * rate)).astype(
            int
        )
        clear = np.array(
            [_range_db(self.clips[int(i)]["waveform"], rate) > CLEAR_DB for i in indices]
        )
        return np.repeat(indices, crops * np.where(clear, config.clear_weight, 1))


def _rooms(folder: str, rate: int) -> RoomPool | None:
    """The room responses in a folder, if one is named."""
    if not folder:
        return None
    responses = {path: files.read(path, rate)[0] for path in files.find(folder)}
    for path, response in responses.items():
        if not response.any():
            raise ConfigError(f"{path}: silent, which no room is: take it out of the folder")
    return RoomPool.of(list(responses.values()))


def _deepened(bundle: bundles.Repairer, network) -> bundles.Repairer:
    """A bundle with the middle of a network, if that begins like its own; else as it is."""
    old = bundle.model
    if not all(isinstance(one, SpectralAutoencoder) for one in (old, network)):
        return bundle
    if tuple(network.middle[: len(old.middle)]) != tuple(old.middle):
        return bundle
    params = old.deepened(bundle.variables["params"], len(network.middle) - len(old.middle))
    return dataclasses.replace(bundle, variables={"params": params})


@dataclasses.dataclass(frozen=True)
class _Judged:
    """What came of one damage: for each system and figure the values [b] of clips `chosen` [b], NaN where not asked."""

    damage: str
    amount: str
    chosen: np.ndarray
    figures: dict[str, dict[str, np.ndarray]]

    def means(self) -> dict:
        """Number of clips, and the mean of each figure of each system."""
        return {"clips": len(self.chosen)} | {
            system: {
                name: float(np.nanmean(values))
                for name, values in figures.items()
                if not np.isnan(values).all()
            }
            for system, figures in self.figures.items()
        }

    def intervals(self, speakers) -> dict:
        """95 % intervals of the means of the repaired, over speakers [B]."""
        own = speakers[self.chosen]
        return {
            name: metrics.bootstrap_interval(
                np.array(
                    [
                        np.nanmean(values[own == speaker])
                        for speaker in np.unique(own[~np.isnan(values)])
                    ]
                ),
                np.mean,
            )
            for name, values in self.figures["repaired"].items()
            if name in FIGURES and not np.isnan(values).all()
        }

    def of(self, clips) -> "_Judged":
        """That of some clips alone."""
        own = np.isin(self.chosen, clips)
        figures = {
            system: {name: values[own] for name, values in figures.items()}
            for system, figures in self.figures.items()
        }
        return _Judged(self.damage, self.amount, self.chosen[own], figures)


def _join(parts: list[_Judged]) -> _Judged:
    """What came of one kind of damage in all its amounts."""
    first = parts[0]
    figures = {
        system: {
            name: np.concatenate([part.figures[system][name] for part in parts]) for name in figures
        }
        for system, figures in first.figures.items()
    }
    return _Judged(first.damage, "", np.concatenate([part.chosen for part in parts]), figures)


def _figures(clean, waves, rate, scored_every) -> dict[str, np.ndarray]:
    """Figures [b] of waveforms [b, N] against clean ones; the slow ones of some clips only."""
    measures = {
        "si_sdr": lambda x, y, rate: min(audio_metrics.si_sdr(x, y), MAX_DB),
        "lsd": audio_metrics.log_spectral_distance,
        "pesq": audio_metrics.pesq,
        "stoi": audio_metrics.stoi,
    }
    figures = audio_metrics.compare(measures, clean, waves, rate)
    quality = np.full(len(clean), np.nan)
    if scored_every and importlib.util.find_spec("librosa"):
        for i in range(0, len(clean), scored_every):
            quality[i] = audio_metrics.quality(clean[i], waves[i], rate).score
    return figures | {"quality": quality}


def _gate(samples, rate):
    """The baseline: spectral gating with the defaults of noisereduce (T. Sainburg et al., PLOS Comp. Biol. 2020)."""
    import noisereduce

    return np.asarray(noisereduce.reduce_noise(y=samples, sr=rate), np.float32)


def _told(means) -> str:
    """The figures before and after, in one line."""
    return ", ".join(
        f"{title} {_pair(means, name)}"
        for name, title in FIGURES.items()
        if name in means["repaired"]
    )


def _pair(means, name) -> str:
    return " → ".join(_number(means[system].get(name)) for system in ("untouched", "repaired"))


def _change(means, name) -> dict | None:
    """A metric of the restored recording and, as its reference, of the damaged one."""
    if name not in means["repaired"]:
        return None
    return {"value": means["repaired"][name], "reference": means["untouched"][name]}


def _number(value) -> str:
    return "–" if value is None else f"{value:.2f}" if value < 100 else "100"


def _range_db(samples, sample_rate: int) -> float:
    """How far the soft frames of a clip lie below the loud ones: where it is far, the background is faint."""
    size = round(FRAME_SECONDS * sample_rate)
    frames = samples[: len(samples) // size * size].reshape(-1, size)
    power = np.mean(frames**2, axis=1) + 1e-10
    return float(np.ptp(10 * np.log10(np.percentile(power, [5, 95])))) if len(frames) else 0.0
