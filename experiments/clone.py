r"""A synthesizer that speaks in one person's voice: what ships, fine-tuned on a minute or more of recordings.

    python -m experiments.clone anna CLIPS --i-may-use-this-voice         or: lin clone anna CLIPS …
    lin speak "Good morning." --model voices/anna/ship/synthesis --voice anna --out morning.wav

The texts stand beside the recordings (a.wav, a.txt), or in CLIPS/table.csv with the columns path,
speaker and text. Recordings are prepared, aligned by the bundle that is fine-tuned, and cut at their
pauses; a seventh of the sentences is held out, by which it is measured before and after. A step takes
about 0.7 s on two CPU cores. Without texts: `lin voice save`, which learns nothing but who speaks.
"""

import argparse
import contextlib
import copy
import dataclasses
import io
import pathlib
import sys
from collections.abc import Sequence

import numpy as np

from data_pipelines import corpora, features
from data_pipelines.corpora import Utterance
from experiments import _run, synthesis
from lin_jax import bundles, compilation_cache, memory
from lin_jax.audio import files
from lin_jax.errors import ConfigError, CorpusError, exit_code
from lin_jax.evaluation import synthesis as evaluation

HELD_OUT = 0.15  # of the sentences
BETTER = {  # which values are
    "similarity": "higher",
    "speaker_top1": "higher",
    "word_error": "lower",
    "mcd": "lower",
    "pitch": "lower",
    "duration": "near 1",
    "problems": "lower",
}
LICENCE = "by consent of the speaker"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit code."""
    summary, _, rest = __doc__.partition("\n")
    parser = argparse.ArgumentParser(
        "python -m experiments.clone",
        description=summary,
        epilog=rest,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("name", metavar="NAME", help="of the voice")
    parser.add_argument("clips", type=pathlib.Path, metavar="CLIPS", help="folder of recordings")
    parser.add_argument(
        "--out",
        type=pathlib.Path,
        metavar="FOLDER",
        help="default: voices/NAME; goes on from there",
    )
    parser.add_argument(
        "--text", type=pathlib.Path, metavar="TABLE", help="if it is not CLIPS/table.csv"
    )
    parser.add_argument("--steps", type=int, default=300, metavar="N", help="default: %(default)s")
    parser.add_argument(
        "--i-may-use-this-voice",
        action="store_true",
        help="state that it is your voice, or that whoever it is agreed",
    )
    args = parser.parse_args(arguments)
    compilation_cache.enable()
    memory.keep_freed()
    return exit_code(lambda: run(args))


def run(args: argparse.Namespace) -> int:
    """Prepare, fine-tune, evaluate and save as the command line asks for; returns the exit code."""
    if not args.i_may_use_this_voice:
        raise ConfigError(
            f"{args.name}: a voice is its owner's; add --i-may-use-this-voice if you may use it"
        )
    utterances = read_utterances(args.name, args.clips, args.text)
    config, out = settings(args.steps), args.out or pathlib.Path("voices") / args.name
    folder, frontend = out / "features", bundles.load(config.init).frontend
    report = features.prepare(utterances, folder, frontend, licence=LICENCE)
    for _, reason in report.skipped:
        print(f"skipped {reason}", file=sys.stderr)
    experiment = synthesis.Experiment(config, folder)
    config.punctuated = ",".join(np.unique(experiment.corpora))
    with contextlib.redirect_stdout(
        io.StringIO()
    ):  # the table below says it together with what was before
        after = experiment.evaluate(out)
    before, _ = evaluation.evaluate(experiment.start, experiment.test_set(), experiment.profiles)
    print("\n".join(compare(before, after)))
    bundle = experiment.ship(out)
    print(f"listen to it: {out / 'evaluate/report.html'}")
    print(
        f"use it: lin speak 'Good morning.' --model {bundle} --voice {args.name} --out morning.wav"
    )
    return 0


def compare(before: dict, after: dict) -> list[str]:
    """A table of the speech before the training beside that after it, of what both results have."""
    first, second = (next(iter(results["voices"].values())) for results in (before, after))
    generated, original = second["systems"]["generated"], second["systems"]["original"]
    clips = second["clips"]
    lines = [
        f"on {clips} {'sentence that was' if clips == 1 else 'sentences that were'} not learnt:",
        _line("", "before", "after", "recorded", "better is"),
    ]
    for metric, better in BETTER.items():
        systems = first["systems"]["generated"], generated, original
        cells = [f"{row[metric]['value']:.2f}" if metric in row else "" for row in systems]
        if all(cells[:2]):
            lines.append(_line(evaluation.METRICS[metric], *cells, better))
    return lines


def _line(name: str, *cells: str) -> str:
    return "".join([f"{name:<28}", *(f"{cell:>11}" for cell in cells)])


def settings(steps: int) -> synthesis.Config:
    """Those of the fine-tuned preset of the synthesis experiment, for one speaker."""
    config = copy.deepcopy(synthesis.CONFIG)
    for name, value in synthesis.PRESETS["fine_tuned"][0].settings.items():
        _run.assign(config, name, value)
    config.train.num_steps, config.loader.buckets = steps, 1
    config.optim.warmup_steps = min(config.optim.warmup_steps, steps // 6)
    config.hold_out, config.hold_out_texts = 0, HELD_OUT
    return config


def read_utterances(
    name: str, clips: pathlib.Path, table: pathlib.Path | None = None
) -> list[Utterance]:
    """Recordings with their texts, all by one speaker.

    Args:
        name: of the speaker.
        clips: the folder.
        table: of their texts; None is `clips/table.csv` if it is there, else files beside them.

    Raises:
        CorpusError: a recording has no text, or the table is not one.
        AudioError: there are no recordings.
    """
    if table or (clips / "table.csv").exists():
        rows = corpora.load("table", clips, table=table)
        return [dataclasses.replace(row, speaker=name, labels={}) for row in rows]
    utterances = []
    for path in files.find(clips):
        text = path.with_suffix(".txt")
        if not text.exists():
            raise CorpusError(
                f"{path}: no {text.name} beside it: write what is said, or give all texts in a "
                "table with --text; without texts, lin voice save keeps the voice"
            )
        content = " ".join(text.read_text(encoding="utf-8-sig").split())
        number = str(path.relative_to(clips).with_suffix(""))
        utterances.append(Utterance(number, path, name, content, {}))
    return utterances


if __name__ == "__main__":
    sys.exit(main())
