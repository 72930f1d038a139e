"""The whole way once, on a corpus that a machine speaks: recordings, features, training, judgement, use, one report.

    make demo            or        python -m experiments.demo --out runs/demo

Takes about three minutes on two cores. Started again after a stop it goes on where it was. Expected
of 7 held-out voices: their style is named right in 75-90 % of the clips, against 25 % by chance.
"""

import argparse
import dataclasses
import os
import pathlib
import shlex
import subprocess
import sys
import time
from collections.abc import Iterator

import numpy as np

from data_pipelines import corpora, features, loaders, splits, trials
from data_pipelines.corpora import synthetic
from data_pipelines.corpora.noise import coloured
from lin_jax import bundles, calibration, metrics
from lin_jax.audio import files, mixing
from lin_jax.audio.augment import AugmentConfig
from lin_jax.audio.frontend import FrontendConfig
from lin_jax.errors import exit_code
from lin_jax.metrics import audio as audio_metrics
from lin_jax.models.residual_classifier import ResidualClassifier
from lin_jax.models.speaker_encoder import SpeakerEncoder
from lin_jax.reporting import html, plots
from lin_jax.tasks.classification import Classification, ClassificationConfig
from lin_jax.tasks.verification import Verification, VerificationConfig
from lin_jax.training import loop, optim

CARD = """# {what} of synthetic voices

Made by `make demo` to show the way from recordings to a model. It was trained on nothing but
espeak-ng: {voices} voices with {clips} clips in four styles. It says
nothing about people; for them use the bundle `{instead}`.

Evaluated on held-out voices ({protocol}): {figures}.
"""
# The bundles that ship and are shown beside those learnt here.
SHOWN = {"repairer": "repair", "synthesizer": "synthesis"}
SENTENCE = "The morning train was late, but nobody seemed to mind."
NOISE_SNR_DB = 5.0  # of the clip that is repaired
AUGMENT = AugmentConfig(freq_masks=2, freq_mask_width=8, time_masks=2, time_mask_width=20)


@dataclasses.dataclass(frozen=True)
class Size:
    """How much is spoken, how long is trained (gender a quarter of it), and how wide the networks' stages are."""

    speakers: int = 48
    clips: int = 5
    num_steps: int = 320
    eval_every: int = 40
    widths: tuple[int, ...] = (12, 24, 36, 48)


def run(
    out: pathlib.Path, size: Size = Size(), repairer: str = "", synthesizer: str = ""
) -> pathlib.Path:
    """Do all of it in a folder and return the path of the report; bundles that repair and speak are shown if named."""
    started = time.perf_counter()

    _say(1, f"{size.speakers} voices speak a corpus in four styles")
    synthetic.generate(out / "corpus", speakers=size.speakers, clips=size.clips)
    utterances = corpora.load("synthetic", out / "corpus")

    _say(2, "Recordings become log-mel features")
    features.prepare(utterances, out / "features", FrontendConfig())
    clips = features.open_features(out / "features")
    split = splits.by_speaker(clips.speakers, (0.7, 0.15, 0.15))
    voices = [
        len({clips.speakers[i] for i in side})
        for side in (split.train, split.validation, split.test)
    ]

    _say(
        3,
        f"Residual networks learn style and gender from {voices[0]} voices, watched on {voices[1]} others",
    )
    style = _classify("style", "emotion", clips, split, size.num_steps, size, out)
    gender = _classify("sex", "gender", clips, split, size.num_steps // 4, size, out)

    _say(4, "An encoder learns who is speaking, from the same voices")
    speakers = _verify(clips, split, size, out)

    _say(5, "The command line on held-out voices")
    clip, *others = [clips.rows[i] for i in split.test]
    same = next(row for row in others if row["speaker"] == clip["speaker"])
    impostor = next(row for row in others if row["speaker"] != clip["speaker"])
    asked = [
        _ask("emotion", "--model", out / "style", clip["path"]),
        _ask("gender", "--model", out / "sex", clip["path"]),
        _ask("verify", "--model", out / "speakers", clip["path"], same["path"]),
        _ask("verify", "--model", out / "speakers", clip["path"], impostor["path"]),
    ]
    if repairer:
        damaged = _damaged(clip["path"], out / "damaged")
        asked.append(_ask("repair", *_model(repairer), out / "damaged", "--out", out / "repaired"))
    if synthesizer:
        spoken = out / "spoken.wav"
        asked.append(
            _ask("speak", SENTENCE, *_model(synthesizer), "--voice", clip["path"], "--out", spoken)
        )
    for command, answer in asked:
        print(f"  $ {command}\n  {answer}")

    _say(6, "Everything goes into one page")
    page = html.write_html(
        out / "report.html",
        "lin_jax demo",
        [
            *_style_sections(clips, split, style),
            _gender_section(gender),
            _speaker_section(clips, speakers, (clip, same, impostor)),
            *([_repair_section(damaged, out / "repaired")] if repairer else []),
            *([_speech_section(clip["path"], spoken)] if synthesizer else []),
            html.Section(
                "Use",
                "A new process loads a bundle and answers in a few seconds.",
                [html.code("\n".join(f"$ {command}\n{answer}" for command, answer in asked))],
            ),
        ],
        lead="From no data to working models: a synthetic corpus, its features, small residual networks, their "
        "judgement on held-out voices, and their use.",
    )
    print(
        f"\nOf {style.figures['held-out voices']} held-out voices, {style.figures['accuracy']} of the styles and"
    )
    print(
        f"{gender.figures['accuracy']} of the genders are named right; the equal error rate of who is speaking is"
    )
    print(
        f"{speakers.figures['equal error rate']}. That took {time.perf_counter() - started:.0f} seconds."
    )
    print(f"Open {page}\nTry  {asked[0][0]}")
    return page


@dataclasses.dataclass(frozen=True)
class Classified:
    """A classifier that was trained, and its predictions of the test clips."""

    names: tuple[str, ...]
    predictions: list[bundles.Prediction]
    matrices: dict[str, np.ndarray]
    history: list[dict[str, float]]
    figures: dict[str, str]


@dataclasses.dataclass(frozen=True)
class Verified:
    """A speaker encoder that was trained, and the scores of the test clips' trials."""

    bundle: bundles.Verifier
    scores: np.ndarray
    same: np.ndarray
    figures: dict[str, str]


def _classify(label, instead, clips, split, num_steps, size, out) -> Classified:
    """Learn a label, judge it on the test voices and save the bundle."""
    labels, names = clips.labels(label)
    mean, std = clips.mean_std(split.train)
    model = ResidualClassifier(
        len(names), widths=size.widths, blocks=(1,) * len(size.widths), hidden=96
    )
    task = Classification(
        model, names, clips.frontend, mean, std, ClassificationConfig(label_smoothing=0.05), AUGMENT
    )
    loader_config = loaders.LoaderConfig(crop_seconds=2.0)
    result = loop.fit(
        task,
        loop.TrainConfig(
            num_steps=num_steps, eval_every=size.eval_every, checkpoint_every=size.eval_every
        ),
        _optim(num_steps),
        loaders.make_loader(clips, split.train, labels, loader_config, train=True),
        lambda: loaders.make_loader(clips, split.validation, labels, loader_config, train=False),
        out / "training" / label,
    )
    bundle = bundles.Classifier(label, model, clips.frontend, result.variables, mean, std, names)
    predictions = [bundle.predict(clips.rows[i]["path"]) for i in split.test]
    matrices = metrics.confusion_by_speaker(
        labels[split.test],
        [names.index(clip.label) for clip in predictions],
        [clips.speakers[i] for i in split.test],
        len(names),
    )
    matrix = sum(matrices.values())
    low, high = metrics.bootstrap_interval(
        list(matrices.values()), lambda drawn: metrics.uar(drawn.sum(0))
    )
    figures = {
        "accuracy": f"{metrics.accuracy(matrix):.1%}",
        "mean recall (UAR)": f"{metrics.uar(matrix):.1%}",
        "95 % interval of the UAR": f"{low:.0%} – {high:.0%}",
        "held-out voices": str(len(matrices)),
        "clips judged": str(len(split.test)),
    }
    bundles.save(
        out / label,
        bundle,
        _card(label.capitalize(), instead, clips, split, figures),
        dtype="float16",
    )
    return Classified(names, predictions, matrices, result.history, figures)


def _verify(clips, split, size, out) -> Verified:
    """Learn who is speaking, choose the threshold by the validation voices, judge on the test voices, and save."""
    speakers, _ = clips.labels("speaker")
    known, numbers = np.unique(speakers[split.train], return_inverse=True)
    labels = np.full(len(clips), -1)
    labels[split.train] = numbers
    mean, std = clips.mean_std(split.train)
    model = SpeakerEncoder(
        widths=size.widths, blocks=(1,) * len(size.widths), hidden=96, embedding=64
    )
    task = Verification(
        model,
        len(known),
        clips.frontend,
        mean,
        std,
        VerificationConfig(triplet_weight=1.0),
        AUGMENT,
    )
    loader_config = loaders.LoaderConfig(crop_seconds=1.5, clips_per_speaker=4)
    result = loop.fit(
        task,
        loop.TrainConfig(num_steps=size.num_steps, checkpoint_every=size.eval_every),
        _optim(size.num_steps),
        loaders.make_loader(clips, split.train, labels, loader_config, train=True),
        None,
        out / "training/speakers",
    )
    encoder = {**result.variables, "params": result.variables["params"]["encoder"]}
    bundle = bundles.Verifier(
        "speakers",
        model,
        clips.frontend,
        encoder,
        mean,
        std,
        speech_weight=np.zeros(model.embedding),
        speech_bias=0.0,
        threshold=0.0,
        slope=1.0,
        offset=0.0,
    )
    # The validation voices choose where same begins; with noises beside them, also what is speech
    # at all.
    embeddings = bundle.embed_files(row["path"] for row in clips.rows)
    scores, listed = _scored(clips, split.validation, embeddings)
    bundle.threshold = metrics.equal_error_rate(scores, listed.same)[1]
    bundle.slope, bundle.offset = calibration.fit_logistic(scores, listed.same)
    sample_rate = clips.frontend.sample_rate
    noises = [voice.embedding for voice in bundle.embed_all(_noises(40, sample_rate), sample_rate)]
    sounds = np.concatenate([embeddings[split.validation], noises])
    is_speech = np.arange(len(sounds)) < len(split.validation)
    bundle.speech_weight, bundle.speech_bias = calibration.fit_logistic(
        sounds, is_speech, decay=1e-4
    )

    scores, listed = _scored(clips, split.test, embeddings)
    decided = (scores >= bundle.threshold) == listed.same
    figures = {
        "equal error rate": f"{metrics.equal_error_rate(scores, listed.same)[0]:.1%}",
        "of the pairs decided right": f"{decided.mean():.1%}",
        "pairs of clips": f"{len(scores)}",
        "held-out voices": f"{len(np.unique(listed.speakers))}",
    }
    bundles.save(
        out / "speakers",
        bundle,
        _card("Speakers", "speaker", clips, split, figures),
        dtype="float16",
    )
    return Verified(bundle, scores, listed.same, figures)


def _optim(num_steps) -> optim.OptimConfig:
    return optim.OptimConfig(
        learning_rate=2e-3,
        warmup_steps=num_steps // 10,
        weight_decay=1e-3,
        clip_norm=1.0,
        ema_decay=0.97,
    )


def _card(what, instead, clips, split, figures) -> str:
    return CARD.format(
        what=what,
        instead=instead,
        voices=len(set(clips.speakers)),
        clips=len(clips),
        protocol=split.protocol,
        figures=", ".join(f"{name} {value}" for name, value in figures.items()),
    )


def _scored(clips, indices, embeddings) -> tuple[np.ndarray, trials.Trials]:
    """Cosine similarities of all pairs of some clips, and the pairs."""
    listed = trials.all_pairs(clips, indices)
    first, second = embeddings[listed.pairs.T]
    return np.sum(first * second, axis=1), listed


def _noises(count, sample_rate) -> Iterator[np.ndarray]:
    """Noises of two seconds, from white to brown, soft and loud."""
    rng = np.random.default_rng(0)
    for _ in range(count):
        noise = coloured(rng, np.arange(2 * sample_rate) / sample_rate)
        yield noise / np.abs(noise).max() * 10 ** rng.uniform(-2, 0)


def _damaged(path, folder: pathlib.Path) -> dict[str, np.ndarray]:
    """Damage a recording in three ways, each written under its name; what was done to the level is done to all.

    Returns:
        Waveforms [N] by name, first the undamaged one, which is not written.
    """
    samples, sample_rate = files.read(path)
    samples = files.level(samples, target_db=-6.0)
    *_, noise = _noises(8, sample_rate)
    lost = np.arange(len(samples)) % round(0.3 * sample_rate) < round(0.03 * sample_rate)
    made = {
        "as spoken": samples,
        "noise": mixing.add_noise(samples, noise, NOISE_SNR_DB),
        "clipping": np.clip(samples, -0.1, 0.1),
        "drop-outs": np.where(lost, 0.0, samples),
    }
    folder.mkdir(exist_ok=True)
    for name in list(made)[1:]:
        files.write(folder / f"{name}.wav", made[name], sample_rate)
    return made


def _say(number: int, what: str):
    print(f"\n{number}/6  {what}", flush=True)


def _ask(*arguments) -> tuple[str, str]:
    """Run `lin` as a user would: the command and its answer."""
    installed = pathlib.Path(sys.executable).with_name("lin")
    lin = (
        [os.path.relpath(installed)]
        if installed.exists()
        else [sys.executable, "-m", "lin_jax.apps.cli"]
    )
    command = [*lin, *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode > 1:  # 1 is a word of adaptive_mix
        done.check_returncode()
    return shlex.join(command), done.stdout.strip()


def _model(bundle: str) -> list[str]:
    """How `lin` is given a bundle that does not ship."""
    return [] if bundle in bundles.shipped() else ["--model", bundle]


def _style_sections(clips, split, style) -> list[html.Section]:
    matrix = sum(style.matrices.values())
    by_speaker = {
        speaker: metrics.accuracy(confusion) for speaker, confusion in style.matrices.items()
    }
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
    chance = metrics.accuracy(np.ones_like(matrix))
    return [
        html.Section(
            "In figures",
            f"Speaking style, on held-out voices; guessing gives {chance:.0%}.",
            [html.tiles(style.figures)],
        ),
        html.Section(
            "Corpus",
            f"espeak-ng says the same sentences in the styles {', '.join(style.names)}, which differ in rate, pitch, "
            "melody and loudness. No voice stands on two sides.",
            [html.table(["side", "voices", "clips", "minutes"], rows)],
        ),
        html.Section(
            "Training",
            "Training clips are random crops; the validation voices choose the step that is kept.",
            [html.picture(plots.plot_curves(style.history))],
        ),
        html.Section(
            "Judgement",
            "Each row is what was spoken, each column what was recognised.",
            [
                html.picture(plots.plot_confusion(matrix, style.names)),
                html.picture(
                    plots.plot_bars(by_speaker, mark=metrics.accuracy(matrix)),
                    "accuracy by held-out voice",
                ),
            ],
        ),
        html.Section(
            "Listen",
            "One clip of each style, then what was mistaken. A tick marks what was spoken.",
            [html.cards(_cards(clips, split.test, style.predictions))],
        ),
    ]


def _gender_section(gender) -> html.Section:
    matrix = sum(gender.matrices.values())
    return html.Section(
        "Gender",
        "The same network and clips with another label, in a quarter of the steps.",
        [html.tiles(gender.figures), html.picture(plots.plot_confusion(matrix, gender.names))],
    )


def _speaker_section(clips, speakers, chosen) -> html.Section:
    clip, same, impostor = chosen
    cards = []
    for title, other in (("One voice", same), ("Two voices", impostor)):
        verdict = speakers.bundle.verify(clip["path"], other["path"])
        summary = f"{verdict.decision}: score {verdict.score:.2f}, probability of the same {verdict.probability:.0%}"
        cards.append(
            (
                title,
                [
                    *(html.player(*files.read(row["path"])) for row in (clip, other)),
                    html.code(summary),
                ],
            )
        )
    return html.Section(
        "Who is speaking",
        "Every clip of the held-out voices against every other one. The validation voices chose the dashed threshold.",
        [
            html.tiles(speakers.figures),
            html.picture(
                plots.plot_scores(
                    speakers.scores, speakers.same, threshold=speakers.bundle.threshold
                )
            ),
            html.cards(cards),
        ],
    )


def _repair_section(damaged, folder) -> html.Section:
    (name, clean), *damages = damaged.items()
    rows, shown = [], [(name, clean)]
    for name, before in damages:
        after, sample_rate = files.read(folder / f"{name}.wav")
        shown += [(name, before), ("repaired", after)]
        ratios = [audio_metrics.si_sdr(clean, x) for x in (before, after)]
        distances = [
            audio_metrics.log_spectral_distance(clean, x, sample_rate) for x in (before, after)
        ]
        rows.append((name, *ratios, *distances))
    return html.Section(
        "Repair",
        "A clip of a held-out voice, damaged in three ways and repaired by the network that ships, "
        "which was not trained on espeak-ng. SI-SDR in dB is better the higher, the spectral distance in dB the lower.",
        [
            html.table(["damage", "SI-SDR", "repaired", "spectral distance", "repaired"], rows),
            html.cards(
                (
                    title,
                    [
                        html.picture(plots.plot_spectrogram(x, sample_rate)),
                        html.player(x, sample_rate),
                    ],
                )
                for title, x in shown
            ),
        ],
    )


def _speech_section(reference, spoken) -> html.Section:
    shown = (("the voice that is copied", reference), ("what it never said", spoken))
    return html.Section(
        "Speech",
        f"“{SENTENCE}”, in the voice of a clip that the network that ships never met.",
        [
            html.cards(
                (title, [html.picture(plots.plot_spectrogram(*sound)), html.player(*sound)])
                for title, sound in ((title, files.read(path)) for title, path in shown)
            )
        ],
    )


def _cards(clips, indices, predictions):
    """A few clips to look at and listen to."""
    pairs = [
        (clips.rows[i], prediction) for i, prediction in zip(indices, predictions, strict=True)
    ]
    right = {
        row["labels"]["style"]: (row, clip)
        for row, clip in pairs
        if clip.label == row["labels"]["style"]
    }
    wrong = [(row, clip) for row, clip in pairs if clip.label != row["labels"]["style"]]
    for row, clip in [*(right[style] for style in sorted(right)), *wrong[:2]]:
        samples, sample_rate = files.read(row["path"])
        style = row["labels"]["style"]
        parts = [
            html.picture(plots.plot_spectrogram(samples, sample_rate), row["text"]),
            html.player(samples, sample_rate),
            html.bars(clip.probabilities, style),
        ]
        yield f"{style}, {row['speaker']}", parts


def main(arguments: list[str] | None = None) -> int:
    """Run from the command line; returns the exit code."""
    parser = argparse.ArgumentParser(
        "python -m experiments.demo", description=__doc__.splitlines()[0]
    )
    parser.add_argument(
        "--out", type=pathlib.Path, default=pathlib.Path("runs/demo"), help="folder for all of it"
    )
    out = parser.parse_args(arguments).out

    def work():
        run(
            out, **{role: name if name in bundles.shipped() else "" for role, name in SHOWN.items()}
        )

    return exit_code(work, interrupted="stopped: run the same command again to go on")


if __name__ == "__main__":
    sys.exit(main())
