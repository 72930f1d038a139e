"""Several synthesizers on the same held-out sentences, by one quality score and what it is made of.

The score is Q of `lin_jax.metrics.audio.Quality`.

Shape letters: B sentences, N samples.
"""

import pathlib
from collections.abc import Mapping, Sequence

import numpy as np

from lin_jax import metrics
from lin_jax.audio import files
from lin_jax.bundles import Speech, Synthesizer
from lin_jax.errors import ConfigError
from lin_jax.evaluation import synthesis
from lin_jax.evaluation.speaker_similarity import SpeakerProfiles
from lin_jax.evaluation.synthesis import Sentence
from lin_jax.metrics.audio import Quality
from lin_jax.reporting import html, plots

QUALITY = (
    "Q = 0.5·MSE + 0.3·(1 − cosine of pitch) + 0.2·(1 − cosine of loudness), the smaller the better, "
    "after alignment with the speaker's own recording of the sentence."
)
METRICS = {
    "q": "Q",
    "q_difference": "Q less that of the first row",
    "mse": "MSE",
    "pitch": "cosine of pitch",
    "loudness": "cosine of loudness",
    "mcd": "MCD, dB",
    "word_error": "word error rate",
    "similarity": "speaker similarity",
}
PARTS = {"mse": "MSE", "pitch": "pitch", "loudness": "loudness"}  # of Q
HIGHER = ("pitch", "loudness", "similarity")  # is better, and lower of the others
NOTHING = Quality(1.0, 0.0, 0.0)  # the worst there is, of what is too short to be measured
RECORDED = "recordings, vocoded"  # the row that the vocoder lets a system reach at best


def compare(
    systems: Mapping[str, tuple[Synthesizer, Sequence[Sentence]]],
    profiles: SpeakerProfiles,
    known_texts: Sequence[str] = (),
) -> tuple[dict[str, dict], dict[str, list[Speech | None]]]:
    """Let every system say the sentences in the same voices, and measure what it says.

    Args:
        systems: a bundle, and B sentences with the references that it clones voices from, by name;
            the sentences are the same ones in every system.
        profiles: of the voices to compare with.
        known_texts: as for `synthesis.evaluate`.

    Returns:
        By system, and of `RECORDED` as the last one, each of `METRICS` with its "value" and 95 %
        interval over speakers, or over the sentences of a single one, and "shares" of Q; and the
        speech (B) of each.

    Raises:
        ConfigError: no systems, other sentences in one of them, or as for `synthesis.evaluate`.
    """
    texts = {tuple(s.text for s in sentences) for _, sentences in systems.values()}
    if len(texts) != 1:
        raise ConfigError("compare one system or more, each on the same sentences")
    names, made = list(systems), []
    for system, (bundle, sentences) in systems.items():
        last = system == names[-1]
        results, speech = synthesis.evaluate(
            bundle, sentences, profiles, known_texts, recorded=last
        )
        (voices,) = results["voices"].values()
        kinds = {system: "generated"} | ({RECORDED: "vocoded"} if last else {})
        made += [
            (name, voices["systems"][kind], results["qualities"][kind], speech[kind])
            for name, kind in kinds.items()
        ]
    speakers = np.array([sentence.speaker for sentence in sentences])
    rows: dict[str, dict] = {}
    first: np.ndarray | None = None
    for system, figures, parts, _ in made:
        qualities = [Quality(**each) if each else NOTHING for each in parts]
        scores = np.array([quality.score for quality in qualities])
        row = {"q": metrics.mean_with_interval(scores, speakers)}
        if first is None:
            first = scores
        else:
            row["q_difference"] = metrics.mean_with_interval(scores - first, speakers)
        for part in PARTS:
            row[part] = metrics.mean_with_interval(
                np.array([getattr(q, part) for q in qualities]), speakers
            )
        row |= {name: figures[name] for name in METRICS if name in figures.keys() - row.keys()}
        shares = [quality.shares for quality in qualities]
        row["shares"] = {
            title: float(np.mean([each[part] for each in shares])) for part, title in PARTS.items()
        }
        rows[system] = row
    return rows, {system: spoken for system, *_, spoken in made}


def report(
    rows: Mapping[str, Mapping],
    spoken: Mapping[str, Sequence[Speech | None]],
    sentences: Sequence[Sentence],
    protocol: str,
    folder: pathlib.Path,
) -> pathlib.Path:
    """Write report.html with bars, the shares of Q, and spectrograms, which lie beside it as PNG too.

    Args:
        rows: of `compare`.
        spoken: of `compare`.
        sentences: what was spoken.
        protocol: how.
        folder: where to.
    """
    folder.mkdir(parents=True, exist_ok=True)
    bars = {
        f"{title} {'↑' if metric in HIGHER else '↓'}": {
            name: row[metric] for name, row in rows.items() if metric in row
        }
        for metric, title in METRICS.items()
        if metric != "q_difference"
    }
    scores = plots.plot_panels({t: each for t, each in bars.items() if each}, folder / "scores.png")
    shares = plots.plot_shares(
        {f"{name}\nQ {row['q']['value']:.3f}": row["shares"] for name, row in rows.items()},
        folder / "shares.png",
    )
    recordings = {"the speaker": files.read(sentences[0].original)} | {
        name: (row[0].samples, row[0].sample_rate) for name, row in spoken.items() if row[0]
    }
    panel = plots.plot_spectrograms(recordings, folder / "spectrograms.png")
    pictures = [
        html.picture(scores, "↓ the smaller the better, ↑ the larger; lines are 95 % intervals"),
        html.picture(shares, "what Q is made of"),
    ]
    players = [(name, [html.player(*each)]) for name, each in recordings.items()]
    measured = [metric for metric in METRICS if any(metric in row for row in rows.values())]
    table = html.table(
        ("", *rows),
        [
            [METRICS[metric], *(synthesis.cell(row.get(metric)) for row in rows.values())]
            for metric in measured
        ],
    )
    sections = [
        html.Section("All metrics", protocol, [table]),
        html.Section("Compared", QUALITY, pictures),
        html.Section(
            "The first sentence",
            sentences[0].text,
            [html.picture(panel, "spectrograms in dB"), html.cards(players)],
        ),
    ]
    return html.write_html(folder / "report.html", "Synthesizers compared", sections)


def summary(rows: Mapping[str, Mapping]) -> str:
    """The metrics of every system, a line each."""
    return "\n".join(
        f"{name}: " + ", ".join(f"{METRICS[m]} {row[m]['value']:.3g}" for m in METRICS if m in row)
        for name, row in rows.items()
    )
