"""What a corpus is like before anything is trained on it: lengths, levels, faults, copies, speakers.

The speaker encoder tells recordings that sound like somebody else than the speaker they are listed
under: those nearer to the mean embedding of another speaker than to that of their own other clips.
"""

import argparse
import dataclasses
import hashlib
import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from data_pipelines import kit
from data_pipelines.corpora import Utterance
from lin_jax.audio import files
from lin_jax.audio.diagnosis import Meter
from lin_jax.errors import AudioError
from lin_jax.vectors import unit_vectors

SUMMARY = (
    "measure a corpus: lengths, loudness, noise, clipping, speakers, copies; a page to look at"
)

BLOCK_SECONDS = 10.0
CLIPPED = 1e-4  # share of the samples from which a recording counts as clipped
QUIET_SNR_DB = 20.0  # below it, a recording counts as noisy
MIN_SECONDS = 1.0
SHOWN = 50  # recordings of a table of the page


@dataclasses.dataclass(frozen=True)
class Clip:
    """What is measured of a recording.

    Attributes:
        seconds: its length.
        sample_rate: in Hz.
        level_db: RMS, in dB of full scale.
        snr_db: of its level above the quietest tenth of its frames, in dB.
        clipped: share of the samples at the rail.
        band_hz: frequency above which nothing is audible.
        digest: of the samples; copies have the same.
    """

    seconds: float
    sample_rate: int
    level_db: float
    snr_db: float
    clipped: float
    band_hz: float
    digest: str


def add_arguments(parser: argparse.ArgumentParser):
    """Flags of the command line."""
    parser.add_argument(
        "--no-speakers",
        action="store_true",
        help="do not listen to who speaks, which takes longest",
    )


def run(utterances: Sequence[Utterance], args: argparse.Namespace) -> dict[str, str]:
    """Measure a corpus; writes OUT/report.json and OUT/report.html."""
    out = kit.make_folder(args.out)
    clips, skipped = kit.each(lambda utterance: measure(utterance.path), utterances, "measured")
    outliers = [] if args.no_speakers else other_speakers([utterance for utterance, _ in clips])
    report = summarise(clips, outliers) | {"skipped": skipped}
    (out / "report.json").write_text(json.dumps(report, indent=2) + "\n")
    write_page(out / "report.html", clips, report)
    print(
        f"{report['clips']} clips, {report['hours']:.2f} h, {report['speakers']} speakers: "
        + ", ".join(f"{len(names)} {fault}" for fault, names in report["faults"].items())
        + f"; see {out / 'report.html'}"
    )
    return skipped


def measure(path: Path) -> Clip:
    """Measure a recording block by block; AudioError if it cannot be read or holds no sound."""
    rate = files.describe(path).sample_rate
    meter, digest, count = Meter(rate), hashlib.sha256(), 0
    for block in files.blocks(path, block_seconds=BLOCK_SECONDS):
        meter.update(block)
        digest.update(np.ascontiguousarray(block))
        count += len(block)
    diagnosis = meter.diagnosis()
    if diagnosis.silent:
        raise AudioError(f"{path}: silent throughout; record it again or leave it out")
    level = 20 * np.log10(diagnosis.rms)
    return Clip(
        seconds=count / rate,
        sample_rate=rate,
        level_db=float(level),
        snr_db=diagnosis.snr_db,
        clipped=diagnosis.clipped,
        band_hz=diagnosis.band_hz or rate / 2,
        digest=digest.hexdigest(),
    )


def other_speakers(utterances: Sequence[Utterance]) -> list[dict]:
    """Recordings that sound like another speaker of the corpus than their own; see the module."""
    from lin_jax import bundles

    encoder = bundles.load("speaker")
    voices = encoder.embed_all([utterance.path for utterance in utterances])
    pairs = [
        (u, voice.embedding)
        for u, voice in zip(utterances, voices, strict=True)
        if not isinstance(voice, AudioError)
    ]
    if not pairs:
        return []
    speakers = np.array([u.speaker for u, _ in pairs])
    vectors = np.stack([vector for _, vector in pairs])
    names = np.unique(speakers)
    sums = np.stack([vectors[speakers == name].sum(axis=0) for name in names])  # [S, E]
    outliers = []
    for (utterance, vector), speaker in zip(pairs, speakers, strict=True):
        means = sums.copy()
        means[names == speaker] -= vector  # of the other clips alone
        cosines = unit_vectors(means + 1e-9) @ vector
        nearest = names[cosines.argmax()]
        if nearest != speaker and (speakers == speaker).sum() > 1:
            own_cosine = float(cosines[names == speaker][0])
            outliers.append(
                {
                    "path": str(utterance.path),
                    "speaker": speaker,
                    "sounds_like": str(nearest),
                    "cosine": own_cosine,
                    "cosine_there": float(cosines.max()),
                }
            )
    return sorted(outliers, key=lambda row: row["cosine"] - row["cosine_there"])


def summarise(clips: Sequence[tuple[Utterance, Clip]], outliers: Sequence[dict]) -> dict:
    """Counts, percentiles and faults of a corpus; see `Clip` for the units."""
    values = [clip for _, clip in clips]
    seconds = np.array([clip.seconds for clip in values])
    labels: dict[str, Counter] = {}
    for utterance, _ in clips:
        for name, value in utterance.labels.items():
            labels.setdefault(name, Counter())[value] += 1
    copies = Counter(clip.digest for clip in values)
    faults = {
        "clipped": lambda clip: clip.clipped > CLIPPED,
        "noisy": lambda clip: clip.snr_db < QUIET_SNR_DB,
        "shorter than 1 s": lambda clip: clip.seconds < MIN_SECONDS,
        "copies": lambda clip: copies[clip.digest] > 1,
    }
    by_speaker = Counter(utterance.speaker for utterance, _ in clips)
    return {
        "clips": len(values),
        "hours": float(seconds.sum() / 3600),
        "speakers": len(by_speaker),
        "clips_by_speaker": dict(by_speaker.most_common()),
        "labels": {
            name: dict(counts.most_common())
            for name, counts in labels.items()
            if len(counts) <= SHOWN
        },
        "sample_rates": {
            str(rate): count for rate, count in Counter(c.sample_rate for c in values).items()
        },
        "percentiles": {
            name: dict(
                zip(
                    ("5", "50", "95"),
                    np.percentile([getattr(clip, name) for clip in values], [5, 50, 95]).tolist(),
                    strict=True,
                )
            )
            for name in ("seconds", "level_db", "snr_db", "band_hz")
        }
        if values
        else {},
        "faults": {
            fault: [str(u.path) for u, clip in clips if has(clip)] for fault, has in faults.items()
        }
        | {"like another speaker": [row["path"] for row in outliers]},
        "other_speakers": list(outliers),
    }


def write_page(path: Path, clips: Sequence[tuple[Utterance, Clip]], report: dict) -> None:
    """One HTML page of a report."""
    from lin_jax.reporting import html, plots

    values = [clip for _, clip in clips]
    histograms = {
        "length, s": [clip.seconds for clip in values],
        "level, dB of full scale": [clip.level_db for clip in values],
        "signal to noise, dB": [min(clip.snr_db, 80.0) for clip in values],
        "band, Hz": [clip.band_hz for clip in values],
        "clips of a speaker": list(report["clips_by_speaker"].values()),
    }
    sections = [
        html.Section(
            "What it is",
            parts=[
                html.tiles(
                    {
                        "clips": f"{report['clips']:,}",
                        "hours": f"{report['hours']:.2f}",
                        "speakers": f"{report['speakers']:,}",
                        "not usable": f"{len(report['skipped']):,}",
                    }
                ),
                *([html.picture(plots.plot_histograms(histograms))] if values else []),
            ],
        )
    ]
    if report["labels"]:
        tables = [
            (name, [html.table((name, "clips"), counts.items())])
            for name, counts in report["labels"].items()
        ]
        sections.append(html.Section("Labels", parts=[html.cards(tables)]))
    for fault, paths in report["faults"].items():
        if paths:
            rest = f"{len(paths)} clips; the first {SHOWN}:" if len(paths) > SHOWN else ""
            rows = [[Path(name).name, name] for name in paths[:SHOWN]]
            parts = [html.table(("clip", "path"), rows)]
            if fault == "like another speaker":
                columns = ("path", "speaker", "sounds_like", "cosine", "cosine_there")
                rows = [
                    [round(row[c], 2) if c.startswith("cosine") else row[c] for c in columns]
                    for row in report["other_speakers"][:SHOWN]
                ]
                header = ("path", "listed as", "sounds like", "cosine", "cosine there")
                parts = [html.table(header, rows)]
            sections.append(html.Section(fault.capitalize(), rest, parts))
    if report["skipped"]:
        rows = [[reason] for reason in list(report["skipped"].values())[:SHOWN]]
        sections.append(html.Section("Not usable", parts=[html.table(("reason",), rows)]))
    html.write_html(path, "A corpus, measured", sections)
