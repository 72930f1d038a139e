"""Logs: event files, JSON lines and the terminal behind one writer.

Its methods are named as those of clu's metric writers.
"""

import json
import math
import numbers
import pathlib
import sys
import time

import jax
import numpy as np

LIVE = (  # figures on the live line
    "train/loss",
    "train/accuracy",
    "cost/examples_per_second",
    "cost/step_ms",
    "cost/data_wait_percent",
)


class Writer:
    """A log that drops everything.

    The base of the others, and the one for processes that do not log.
    """

    def write_scalars(self, step, scalars):
        """Numbers by name."""

    def write_images(self, step, images):
        """Images by name [height, width, 3], 0 to 1 float or 0 to 255 int."""

    def write_audios(self, step, audios, *, sample_rate):
        """Waveforms by name [N], −1 to 1."""

    def write_texts(self, step, texts):
        """Strings by name."""

    def write_histograms(self, step, arrays, num_buckets=None):
        """Arrays by name, to be shown as distributions."""

    def write_hparams(self, hparams):
        """Settings of the run by name, once."""

    def flush(self):
        """Put everything written so far on disk."""

    def close(self):
        """Flush, and give the files back."""


class MultiWriter(Writer):
    """Writes to several writers."""

    def __init__(self, *writers):
        self.writers = writers

    def write_scalars(self, step, scalars):
        for writer in self.writers:
            writer.write_scalars(step, scalars)

    def write_images(self, step, images):
        for writer in self.writers:
            writer.write_images(step, images)

    def write_audios(self, step, audios, *, sample_rate):
        for writer in self.writers:
            writer.write_audios(step, audios, sample_rate=sample_rate)

    def write_texts(self, step, texts):
        for writer in self.writers:
            writer.write_texts(step, texts)

    def write_histograms(self, step, arrays, num_buckets=None):
        for writer in self.writers:
            writer.write_histograms(step, arrays, num_buckets)

    def write_hparams(self, hparams):
        for writer in self.writers:
            writer.write_hparams(hparams)

    def flush(self):
        for writer in self.writers:
            writer.flush()

    def close(self):
        for writer in self.writers:
            writer.close()


class TensorBoardWriter(Writer):
    """Event files for TensorBoard, without TensorFlow.

    Events are written by the caller's thread: that of tensorboardX's `SummaryWriter` dies of a full
    disk, and whoever writes then waits for it for ever.
    """

    def __init__(self, folder):
        from tensorboardX import event_file_writer, summary

        folder = pathlib.Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        self._summary, self._file = summary, event_file_writer.EventsWriter(str(folder / "events"))

    def write_scalars(self, step, scalars):
        for name, value in scalars.items():
            self._write(step, self._summary.scalar(name, float(value)))

    def write_images(self, step, images):
        for name, image in images.items():
            self._write(step, self._summary.image(name, np.asarray(image), dataformats="HWC"))

    def write_audios(self, step, audios, *, sample_rate):
        for name, waveform in audios.items():
            self._write(step, self._summary.audio(name, np.asarray(waveform), sample_rate))

    def write_texts(self, step, texts):
        for name, text in texts.items():
            self._write(step, self._summary.text(name, text))

    def write_histograms(self, step, arrays, num_buckets=None):
        for name, array in arrays.items():
            self._write(step, self._summary.histogram(name, np.asarray(array), num_buckets or 30))

    def write_hparams(self, hparams):
        rows = [f"| {name} | {value} |" for name, value in hparams.items()]
        self.write_texts(0, {"hparams": "\n".join(["| setting | value |", "| --- | --- |", *rows])})

    def flush(self):
        self._file.flush()

    def close(self):
        self._file.close()

    def _write(self, step, summary):
        from tensorboardX.proto.event_pb2 import Event

        self._file.write_event(Event(step=int(step), wall_time=time.time(), summary=summary))


class JsonLinesWriter(Writer):
    """One JSON object a line: scalars, texts and settings.

    A resumed run appends, and repeats the steps after its checkpoint: of two lines with one step,
    the later one holds.
    """

    def __init__(self, path):
        self._file = open(path, "a", encoding="utf-8")  # noqa: SIM115 - closed by close()

    def write_scalars(self, step, scalars):
        values = {name: float(value) for name, value in scalars.items()}
        # JSON has no NaN: a figure that could not be computed is null.
        self._write(
            {"step": int(step)} | {n: v if math.isfinite(v) else None for n, v in values.items()}
        )

    def write_texts(self, step, texts):
        self._write({"step": int(step), **texts})

    def write_hparams(self, hparams):
        plain = (numbers.Number, str, bool, list, tuple, type(None))
        self._write(
            {"hparams": {n: v if isinstance(v, plain) else str(v) for n, v in hparams.items()}}
        )

    def flush(self):
        self._file.flush()

    def close(self):
        self._file.close()

    def _write(self, row):
        self._file.write(json.dumps(row) + "\n")


class TerminalWriter(Writer):
    """One live line for training, and one that stays for every evaluation.

    Args:
        num_steps: steps of the whole run, for the time left.
        stream: where to write; a stream that is not a terminal gets only lines that stay.
    """

    def __init__(self, num_steps, stream=None):
        self._num_steps, self._stream = num_steps, stream or sys.stderr
        self._live = self._stream.isatty()
        # Step and time of the first report: steps before it were made by an earlier process.
        self._start: tuple[int, float] | None = None

    def write_scalars(self, step, scalars):
        if self._start is None:
            self._start = (step, time.monotonic())
        training = any(name.startswith("train/") for name in scalars)
        if training and not self._live:
            return
        shown = {n: v for n, v in scalars.items() if n in LIVE} if training else scalars
        figures = [f"{_short(name)} {_number(value)}" for name, value in shown.items()]
        line = "  ".join([f"step {step}/{self._num_steps}", *figures, *self._time_left(step)])
        self._print(line, stays=not training)

    def write_texts(self, step, texts):
        for text in texts.values():  # of a table the last line, which is its sum
            self._print(f"step {step}: {text.splitlines()[-1]}", stays=True)

    def close(self):
        if self._live:
            self._print("", stays=False)

    def _time_left(self, step):
        if self._start is None:
            return []
        first, start = self._start
        if step <= first or step >= self._num_steps:
            return []
        seconds = round((time.monotonic() - start) / (step - first) * (self._num_steps - step))
        return [f"{seconds // 3600}:{seconds // 60 % 60:02}:{seconds % 60:02} left"]

    def _print(self, line, stays):
        # Return to the line's start and clear it, so that a shorter line leaves nothing of a longer
        # one.
        self._stream.write(("\r\x1b[K" if self._live else "") + line + ("\n" if stays else ""))
        self._stream.flush()


def create(workdir, num_steps: int) -> Writer:
    """The writer of a run: event files and metrics.jsonl in `workdir`, and the terminal.

    Only one process logs.
    """
    if jax.process_index() > 0:
        return Writer()
    workdir = pathlib.Path(workdir)
    workdir.mkdir(parents=True, exist_ok=True)
    return MultiWriter(
        TensorBoardWriter(workdir / "tensorboard"),
        JsonLinesWriter(workdir / "metrics.jsonl"),
        TerminalWriter(num_steps),
    )


def _short(name):
    return name.removeprefix("train/").removeprefix("cost/").replace("_per_", "/").replace("/", " ")


def _number(value):
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.4f}"
