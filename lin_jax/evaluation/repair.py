"""How near the recordings that a bundle repairs come to what they were before they were damaged.

Shape letters: B clips, b those of one condition, N samples.
"""

import dataclasses
import importlib.util
import pathlib
import time
from collections.abc import Callable, Iterator, Mapping, Sequence

import numpy as np
from numpy.typing import ArrayLike

from lin_jax import metrics
from lin_jax.audio import degrade, files, mixing
from lin_jax.bundles import Repairer
from lin_jax.metrics import audio as audio_metrics
from lin_jax.reporting import html, plots

SNRS_DB = (0, 5, 10, 15)
SEVERITIES = (0.2, 0.5, 0.8)
EXAMPLES = ("5 dB", f"{SEVERITIES[1]:g}")  # amounts of damage of which there are examples
SYSTEMS = ("untouched", "gated", "repaired")
METRICS = {"si_sdr": "SI-SDR, dB", "pesq": "PESQ", "stoi": "STOI", "lsd": "LSD, dB"}
MAX_DB = 100.0  # of a clip's SI-SDR: that of an untouched clean clip is infinite


def evaluate(
    bundle: Repairer,
    clean: np.ndarray,
    speakers: ArrayLike,
    corpora: ArrayLike,
    noises: Sequence[np.ndarray] = (),
    *,
    damaged_every: int = 3,
    scored_every: int = 8,
    progress: Callable[[str], None] = lambda line: None,
) -> tuple[dict, dict[str, dict[str, np.ndarray]]]:
    """Damage clean speech in every way and amount, repair it, and compare both with the clean one.

    Beside the bundle stands, where noisereduce is installed, spectral gating with its defaults (T.
    Sainburg et al., PLOS Computational Biology 2020). The same clips are damaged alike every time.

    Args:
        bundle: the repairer.
        clean: clips of one length at the rate of its front end [B, N].
        speakers: who speaks each [B].
        corpora: the corpus each is from [B].
        noises: recorded noises of any length, at the same rate; without any, noise is generated.
        damaged_every: every how many clips is damaged in other ways than by noise.
        scored_every: every how many clips in noise, or clean, gets the quality score, which takes
            long; 0 for none.
        progress: is given a line for every condition.

    Returns:
        The results: "parameters"; "speakers", the names of those in each corpus;
        "real_time_factor"; "conditions", for every damage and amount the number of clips and the
        mean of each of `METRICS` of each of `SYSTEMS`; "damages", the same of all amounts of each;
        "noise", that of noise, with the 95 % "intervals" of the repaired over the speakers; and
        "noise_by_corpus". And by condition an example: its waveforms [N], "clean" and by system.
    """
    import jax

    speakers, corpora = np.asarray(speakers), np.asarray(corpora)
    rate = bundle.frontend.sample_rate
    bundle.repair(clean[0], rate)  # which compiles
    conditions, examples, spent, repaired_seconds = [], {}, 0.0, 0.0
    for damage, amount, clips, damaged in _damages(clean, rate, noises, damaged_every):
        began = time.perf_counter()
        waveforms = {
            "untouched": damaged,
            "repaired": np.stack([bundle.repair(x, rate) for x in damaged]),
        }
        spent += time.perf_counter() - began
        repaired_seconds += damaged.size / rate
        if importlib.util.find_spec("noisereduce"):
            waveforms["gated"] = np.stack([_gate(x, rate) for x in damaged])
        every = scored_every if damage in ("clean", "noise") else 0
        values = {
            system: _measure(clean[clips], estimates, rate, every)
            for system, estimates in waveforms.items()
        }
        condition = _Condition(damage, amount, clips, values)
        conditions.append(condition)
        progress(f"{condition.name}: {summary(condition.means())}")
        if amount in EXAMPLES:
            by_system = {system: estimates[0] for system, estimates in waveforms.items()}
            examples[condition.name] = {"clean": clean[clips[0]]} | by_system

    damages = {
        damage: _join([each for each in conditions if each.damage == damage])
        for damage in dict.fromkeys(each.damage for each in conditions)
    }
    noisy, names = damages["noise"], np.unique(corpora)
    results = {
        "parameters": sum(leaf.size for leaf in jax.tree.leaves(bundle.variables["params"])),
        "speakers": {str(name): np.unique(speakers[corpora == name]).tolist() for name in names},
        "real_time_factor": spent / repaired_seconds,
        "noise": noisy.means() | {"intervals": noisy.intervals(speakers)},
        "noise_by_corpus": {
            str(name): noisy.of(np.flatnonzero(corpora == name)).means() for name in names
        },
        "damages": {damage: condition.means() for damage, condition in damages.items()},
        "conditions": [
            {"damage": each.damage, "amount": each.amount} | each.means() for each in conditions
        ],
    }
    return results, examples


def summary(means: Mapping) -> str:
    """The metrics of a condition before and after the repair, in one line."""
    return ", ".join(
        f"{title} {change(means, name)}"
        for name, title in METRICS.items()
        if name in means["repaired"]
    )


def change(means: Mapping, name: str) -> str:
    """One metric of a condition before and after the repair, such as "4.98 → 14.63"."""
    return " → ".join(number(means[system].get(name)) for system in ("untouched", "repaired"))


def number(value: float | None) -> str:
    """A mean with two decimals; "–" where there is none."""
    return "–" if value is None else f"{value:.2f}" if value < MAX_DB else f"{MAX_DB:.0f}"


def card_metrics(results: Mapping) -> dict:
    """The metrics that a card quotes, by condition; see `lin_jax.bundles.card`."""
    rows = {
        ", ".join(filter(None, (each["damage"], each["amount"]))): {
            title: _with_reference(each, name) for name, title in METRICS.items()
        }
        for each in results["conditions"]
    }
    intervals = {
        METRICS[name]: {"value": results["noise"]["repaired"].get(name), "low": low, "high": high}
        for name, (low, high) in results["noise"]["intervals"].items()
    }
    return rows | ({"noise, all amounts": intervals} if intervals else {})


def _with_reference(means: Mapping, name: str) -> dict | None:
    if name not in means["repaired"]:
        return None
    return {"value": means["repaired"][name], "reference": means["untouched"].get(name)}


def report(
    results: Mapping,
    examples: Mapping[str, Mapping[str, np.ndarray]],
    sample_rate: int,
    folder: pathlib.Path,
):
    """Write report.html: bars by kind of damage, examples to listen to, and all means.

    Args:
        results: of `evaluate`, with their "protocol".
        examples: of `evaluate`.
        sample_rate: of the examples, in Hz.
        folder: where to; there are the pictures and examples besides.
    """
    (folder / "examples").mkdir(parents=True, exist_ok=True)
    pictures = []
    for name, title in METRICS.items():
        groups = {
            damage: {
                system: means[system][name] for system in SYSTEMS if name in means.get(system, {})
            }
            for damage, means in results["damages"].items()
        }
        if any(groups.values()):
            figure = plots.plot_groups(groups, folder / f"{name}.png", title=title)
            pictures.append(html.picture(figure, title))
    cards = []
    for name, waveforms in examples.items():
        for system, samples in waveforms.items():
            path = folder / f"examples/{name}-{system}.flac".replace(" ", "-")
            files.write(path, np.clip(samples, -1, 1), sample_rate)
            figure = plots.plot_spectrogram(samples, sample_rate, path.with_suffix(".png"))
            parts = [html.picture(figure), html.player(samples, sample_rate)]
            cards.append((f"{name}: {system}", parts))
    rows = [
        [
            condition["damage"],
            condition["amount"],
            system,
            *(number(condition[system].get(name)) for name in METRICS),
        ]
        for condition in results["conditions"]
        for system in SYSTEMS
        if system in condition
    ]
    header = ["damage", "amount", "system", *METRICS.values()]
    sections = [
        html.Section("By kind of damage", "Means over all amounts of it.", pictures),
        html.Section("Examples", "", [html.cards(cards)]),
        html.Section("All figures", results["protocol"], [html.table(header, rows)]),
    ]
    html.write_html(folder / "report.html", "Repair", sections, lead=summary(results["noise"]))


@dataclasses.dataclass(frozen=True)
class _Condition:
    """One damage in one amount: by system and metric the values [b] of `clips` [b], NaN if unknown."""

    damage: str
    amount: str
    clips: np.ndarray
    values: dict[str, dict[str, np.ndarray]]

    @property
    def name(self) -> str:
        return f"{self.damage} {self.amount}".strip()

    def means(self) -> dict:
        """Number of clips, and the mean of each metric of each system."""
        return {"clips": len(self.clips)} | {
            system: {
                name: float(np.nanmean(values))
                for name, values in by_metric.items()
                if not np.isnan(values).all()
            }
            for system, by_metric in self.values.items()
        }

    def intervals(self, speakers) -> dict:
        """95 % intervals of the means of the repaired, over speakers [B]."""
        speakers = speakers[self.clips]
        return {
            name: metrics.bootstrap_interval(
                np.array(
                    [
                        np.nanmean(values[speakers == speaker])
                        for speaker in np.unique(speakers[~np.isnan(values)])
                    ]
                ),
                np.mean,
            )
            for name, values in self.values["repaired"].items()
            if name in METRICS and not np.isnan(values).all()
        }

    def of(self, clips) -> "_Condition":
        """That of some clips alone."""
        mask = np.isin(self.clips, clips)
        values = {
            system: {name: each[mask] for name, each in by_metric.items()}
            for system, by_metric in self.values.items()
        }
        return _Condition(self.damage, self.amount, self.clips[mask], values)


def _join(conditions: Sequence[_Condition]) -> _Condition:
    """One kind of damage in all its amounts."""
    first = conditions[0]
    values = {
        system: {
            name: np.concatenate([each.values[system][name] for each in conditions])
            for name in by_metric
        }
        for system, by_metric in first.values.items()
    }
    return _Condition(first.damage, "", np.concatenate([c.clips for c in conditions]), values)


def _damages(
    clean, rate: int, noises: Sequence[np.ndarray], damaged_every: int
) -> Iterator[tuple[str, str, np.ndarray, np.ndarray]]:
    """Kind and amount of damage, the clips [b] it is done to, and them with it [b, N]."""
    import jax

    B, N = clean.shape
    everyone, some = np.arange(B), np.arange(0, B, damaged_every)
    yield "clean", "", everyone, clean
    for count, snr in enumerate(SNRS_DB):
        if len(noises):
            chosen = (everyone + count * 5) % len(noises)
            noise = np.stack([np.resize(noises[index], N) for index in chosen])
        else:
            noise = mixing.coloured_noise(jax.random.key(count), B, N)
        noisy = mixing.mix(clean, noise, np.full(B, float(snr)))
        yield "noise", f"{snr} dB", everyone, np.asarray(noisy)
    for name, damage in degrade.DAMAGES.items():
        for severity in SEVERITIES:
            damaged = damage(jax.random.key(0), clean[some], np.full(len(some), severity), rate)
            yield name, f"{severity:g}", some, np.asarray(damaged)


def _measure(clean, estimates, rate: int, scored_every: int) -> dict[str, np.ndarray]:
    """Metrics [b] of waveforms [b, N] against clean ones; the slow one of some clips only."""
    measures = {
        "si_sdr": lambda x, y, rate: min(audio_metrics.si_sdr(x, y), MAX_DB),
        "lsd": audio_metrics.log_spectral_distance,
        "pesq": audio_metrics.pesq,
        "stoi": audio_metrics.stoi,
    }
    values = audio_metrics.compare(measures, clean, estimates, rate)
    quality = np.full(len(clean), np.nan)
    if scored_every and importlib.util.find_spec("librosa"):
        for i in range(0, len(clean), scored_every):
            quality[i] = audio_metrics.quality(clean[i], estimates[i], rate).score
    return values | {"quality": quality}


def _gate(samples, rate: int) -> np.ndarray:
    import noisereduce

    return np.asarray(noisereduce.reduce_noise(y=samples, sr=rate), np.float32)
