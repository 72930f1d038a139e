"""The whole way once, on a corpus that a machine speaks: recordings, features, training, judgement, use, one report.

    make demo            or        python -m experiments.demo --out runs/demo

Takes about two minutes on two cores. Started again after a stop it goes on where it was.
Expected: the style of 7 unheard voices is named right in 75-90 % of their clips, against 25 % by chance.
"""

import argparse
import dataclasses
import os
import pathlib
import shlex
import subprocess
import sys
import time

import numpy as np

from data_pipelines import corpora, features, loaders, splits
from data_pipelines.corpora import synthetic
from lin_jax import bundles, metrics
from lin_jax.apps import report
from lin_jax.audio import files
from lin_jax.audio.augment import AugmentConfig
from lin_jax.audio.frontend import FrontendConfig
from lin_jax.errors import exit_code
from lin_jax.models.residual_classifier import ResidualClassifier
from lin_jax.tasks.classification import Classification, ClassificationConfig
from lin_jax.training import loop, optim

CARD = """# Speaking style of synthetic voices

Made by `make demo` to show the way from recordings to a model. It has heard nothing but espeak-ng: {voices} voices with
{clips} clips in the styles {styles}. It says nothing about people; for their emotions use the bundle `emotion`.

Judged on voices it had not heard ({protocol}): {figures}.
"""


@dataclasses.dataclass(frozen=True)
class Size:
    """How much is spoken, how long is trained, and how wide the network's stages are."""

    speakers: int = 48
    clips: int = 5
    num_steps: int = 320
    eval_every: int = 40
    widths: tuple[int, ...] = (12, 24, 36, 48)


def run(out: pathlib.Path, size: Size = Size()) -> pathlib.Path:
    """Do all of it in a folder and return the path of the report."""
    started = time.perf_counter()

    _say(1, f"{size.speakers} voices speak a corpus in four styles")
    synthetic.generate(out / "corpus", speakers=size.speakers, clips=size.clips)
    utterances = corpora.load("synthetic", out / "corpus")

    _say(2, "Recordings become log-mel features")
    features.prepare(utterances, out / "features", FrontendConfig())
    clips = features.open_features(out / "features")
    labels, names = clips.labels("style")
    split = splits.by_speaker(clips.speakers, (0.7, 0.15, 0.15))
    voices = [len({clips.speakers[i] for i in side}) for side in (split.train, split.validation, split.test)]

    _say(3, f"A residual network learns from {voices[0]} voices, watched on {voices[1]} others")
    mean, std = clips.mean_std(split.train)
    model = ResidualClassifier(len(names), widths=size.widths, blocks=(1,) * len(size.widths), hidden=96)
    augment = AugmentConfig(freq_masks=2, freq_mask_width=8, time_masks=2, time_mask_width=20)
    config = ClassificationConfig(label_smoothing=0.05)
    task = Classification(model, names, clips.frontend, mean, std, config, augment)
    loader_config = loaders.LoaderConfig(crop_seconds=2.0)
    result = loop.fit(
        task,
        loop.TrainConfig(num_steps=size.num_steps, eval_every=size.eval_every, checkpoint_every=size.eval_every),
        optim.OptimConfig(
            learning_rate=2e-3, warmup_steps=size.num_steps // 10, weight_decay=1e-3, clip_norm=1.0, ema_decay=0.97
        ),
        loaders.make_loader(clips, split.train, labels, loader_config, train=True),
        lambda: loaders.make_loader(clips, split.validation, labels, loader_config, train=False),
        out / "training",
    )

    _say(4, "The best network becomes a bundle: weights, front end, labels, card")
    bundle = bundles.Classifier("demo", model, clips.frontend, result.variables, mean, std, names)
    heard = [bundle.predict(clips.rows[i]["path"]) for i in split.test]
    matrices = metrics.confusion_by_speaker(
        labels[split.test],
        [names.index(clip.label) for clip in heard],
        [clips.speakers[i] for i in split.test],
        len(names),
    )
    matrix = sum(matrices.values())
    low, high = metrics.bootstrap_interval(list(matrices.values()), lambda drawn: metrics.uar(drawn.sum(0)))
    figures = {
        "accuracy": f"{metrics.accuracy(matrix):.1%}",
        "mean recall (UAR)": f"{metrics.uar(matrix):.1%}",
        "95 % interval of the UAR": f"{low:.0%} – {high:.0%}",
        "unheard voices": str(len(matrices)),
        "clips judged": str(len(split.test)),
    }
    card = CARD.format(
        voices=size.speakers,
        clips=len(clips),
        styles=", ".join(names),
        protocol=split.protocol,
        figures=", ".join(f"{name} {value}" for name, value in figures.items()),
    )
    bundles.save(out / "bundle", bundle, card, dtype="float16")

    _say(5, "The command line hears a voice it never met")
    clip = clips.rows[split.test[0]]["path"]
    command, answer, seconds = _ask(out / "bundle", clip)
    print(f"  $ {command}\n  {answer}")

    _say(6, "Everything goes into one page")
    page = report.write_html(
        out / "report.html",
        "lin_jax demo",
        _sections(clips, split, names, heard, result.history, figures, matrices, (command, answer, seconds)),
        lead="From no data to a working model: a synthetic corpus, its features, a small residual network, its "
        "judgement on unheard voices, and its use.",
    )
    print(f"\n{figures['accuracy']} of the clips of {figures['unheard voices']} unheard voices are named right.")
    print(f"That took {time.perf_counter() - started:.0f} seconds.")
    print(f"Open {page}\nTry  {command}")
    return page


def _say(number: int, what: str):
    print(f"\n{number}/6  {what}", flush=True)


def _ask(bundle, clip) -> tuple[str, str, float]:
    """Run `lin emotion` as a user would: the command, its answer, and the seconds it took."""
    installed = pathlib.Path(sys.executable).with_name("lin")
    lin = [os.path.relpath(installed)] if installed.exists() else [sys.executable, "-m", "lin_jax.apps.cli"]
    command = [*lin, "emotion", "--model", str(bundle), str(clip)]
    started = time.perf_counter()
    answer = subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    return shlex.join(command), answer, time.perf_counter() - started


def _sections(clips, split, names, heard, history, figures, matrices, use) -> list[report.Section]:
    command, answer, seconds = use
    matrix = sum(matrices.values())
    by_speaker = {speaker: metrics.accuracy(own) for speaker, own in matrices.items()}
    sides = {"training": split.train, "validation": split.validation, "test": split.test}
    rows = [
        (
            side,
            len({clips.speakers[i] for i in indices}),
            len(indices),
            sum(clips.rows[i]["seconds"] for i in indices) / 60,
        )
        for side, indices in sides.items()
    ]
    chance = metrics.accuracy(np.ones((len(names), len(names))))
    return [
        report.Section(
            "In figures", f"On voices the network never heard; guessing gives {chance:.0%}.", [report.tiles(figures)]
        ),
        report.Section(
            "Corpus",
            f"espeak-ng says the same sentences in the styles {', '.join(names)}, which differ in rate, pitch, melody "
            "and loudness. No voice stands on two sides.",
            [report.table(["side", "voices", "clips", "minutes"], rows)],
        ),
        report.Section(
            "Training",
            "Training clips are random crops; the validation voices choose the step that is kept.",
            [report.picture(report.plot_curves(history))],
        ),
        report.Section(
            "Judgement",
            "Each row is what was spoken, each column what was heard.",
            [
                report.picture(report.plot_confusion(matrix, names)),
                report.picture(
                    report.plot_bars(by_speaker, mark=metrics.accuracy(matrix)), "accuracy by unheard voice"
                ),
            ],
        ),
        report.Section(
            "Listen",
            "One clip of each style, then what was misheard. A tick marks what was spoken.",
            [report.cards(_cards(clips, split.test, heard))],
        ),
        report.Section(
            "Use",
            f"A new process loads the bundle and answers in {seconds:.1f} seconds.",
            [report.code(f"$ {command}\n{answer}")],
        ),
    ]


def _cards(clips, indices, heard):
    """A few clips to look at and listen to."""
    pairs = [(clips.rows[i], prediction) for i, prediction in zip(indices, heard, strict=True)]
    right = {row["labels"]["style"]: (row, said) for row, said in pairs if said.label == row["labels"]["style"]}
    wrong = [(row, said) for row, said in pairs if said.label != row["labels"]["style"]]
    for row, said in [*(right[style] for style in sorted(right)), *wrong[:2]]:
        samples, sample_rate = files.read(row["path"])
        style = row["labels"]["style"]
        parts = [
            report.picture(report.plot_spectrogram(samples, sample_rate), row["text"]),
            report.player(samples, sample_rate),
            report.bars(said.probabilities, style),
        ]
        yield f"{style}, {row['speaker']}", parts


def main(arguments: list[str] | None = None) -> int:
    """Run from the command line; returns the exit code."""
    parser = argparse.ArgumentParser("python -m experiments.demo", description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=pathlib.Path, default=pathlib.Path("runs/demo"), help="folder for all of it")
    out = parser.parse_args(arguments).out

    def work():
        run(out)

    return exit_code(work, interrupted="stopped: run the same command again to go on")


if __name__ == "__main__":
    sys.exit(main())
