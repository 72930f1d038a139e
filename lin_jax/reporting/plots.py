"""Plots as PNG: each is a matplotlib `Figure`, drawn off screen.

It is saved, too, where a path is given.

Pyplot's global state is never used.
"""

import itertools
import pathlib
from collections.abc import Iterable, Mapping, Sequence

import matplotlib
import numpy as np
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure

from lin_jax import metrics

INK, MUTED, RULE = "#1c2333", "#667085", "#e4e7ec"
COLOURS = ("#2f5bea", "#f08c2e", "#12936f", "#c2417c", "#7a5af8", "#0e8aa8")
_SHADES = LinearSegmentedColormap.from_list("lin", ["#ffffff", "#c9d6ff", "#2f5bea", "#14246b"])
_STYLE = {
    "font.size": 10,
    "legend.loc": "upper right",  # and not where there is most room, which takes long to find
    "text.color": INK,
    "axes.edgecolor": "#98a2b3",
    "axes.labelcolor": MUTED,
    "axes.titlesize": 11,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": RULE,
    "grid.linewidth": 0.8,
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    "legend.frameon": False,
    "lines.linewidth": 1.8,
}


def plot_curves(history: Iterable[Mapping[str, float]], path=None) -> Figure:
    """Draw every metric of a run against its step, one panel a metric.

    Args:
        history: rows such as the lines of `metrics.jsonl`: `step` and any scalars. A name like
            `eval/loss` is the line `eval` in the panel `loss`; a row need not carry every name.
        path: where to save the PNG as well, if given.
    """
    panels: dict[str, dict[str, list[tuple[float, float]]]] = {}
    for row in history:
        for name, value in row.items():
            if name != "step" and isinstance(value, int | float | np.number):
                line, _, metric = name.rpartition("/")
                panels.setdefault(metric, {}).setdefault(line, []).append((row["step"], value))
    colours = {"": MUTED}  # a line keeps its colour through all panels
    rows, columns = _grid(len(panels))
    with matplotlib.rc_context(_STYLE):
        figure = Figure(figsize=(4.2 * columns, 2.9 * rows), layout="constrained")
        for i, (metric, lines) in enumerate(panels.items()):
            axis = figure.add_subplot(
                rows, columns, i + 1, title=metric.replace("_", " "), xlabel="step"
            )
            for line, points in lines.items():
                colour = colours.setdefault(line, COLOURS[(len(colours) - 1) % len(COLOURS)])
                marker = "o" if len(points) < 20 else None
                axis.plot(
                    *zip(*points, strict=True),
                    color=colour,
                    label=line,
                    marker=marker,
                    markersize=3.5,
                )
            if any(lines):
                axis.legend()
    return _saved(figure, path)


def plot_confusion(matrix: np.ndarray, labels: Sequence[str], path=None) -> Figure:
    """Draw a confusion matrix, each cell its share of the row's true class and its count.

    Args:
        matrix: counts [C, C], rows the truth, columns the prediction.
        labels: c class names.
        path: where to save the PNG as well, if given.
    """
    matrix = np.asarray(matrix)
    C = len(labels)
    shares = matrix / np.maximum(matrix.sum(axis=1, keepdims=True), 1)
    with matplotlib.rc_context(_STYLE | {"axes.grid": False}):
        figure = Figure(figsize=(2.4 + 0.68 * C, 1.6 + 0.62 * C), layout="constrained")
        axis = figure.add_subplot(xlabel="predicted", ylabel="true")
        axis.imshow(shares, cmap=_SHADES, vmin=0, vmax=1, aspect="auto")
        axis.set_xticks(range(C), labels, rotation=40, ha="right", rotation_mode="anchor")
        axis.set_yticks(range(C), labels)
        axis.set_xticks(np.arange(C + 1) - 0.5, minor=True)
        axis.set_yticks(np.arange(C + 1) - 0.5, minor=True)
        axis.grid(which="minor", color="white", linewidth=2)
        axis.tick_params(which="both", length=0)
        axis.spines[:].set_visible(False)
        for i, j in np.argwhere(matrix > 0):
            shade = "white" if shares[i, j] > 0.45 else INK
            axis.text(
                j,
                i - 0.1,
                f"{shares[i, j]:.0%}",
                ha="center",
                va="center",
                color=shade,
                weight="bold" if i == j else None,
            )
            axis.text(
                j,
                i + 0.24,
                f"{matrix[i, j]:g}",
                ha="center",
                va="center",
                color=shade,
                fontsize=7.5,
                alpha=0.75,
            )
        recall = np.diag(shares)[matrix.sum(axis=1) > 0]
        axis.set_title(
            f"mean recall {recall.mean() if recall.size else 0:.1%}, {matrix.sum():g} clips"
        )
    return _saved(figure, path)


def plot_bars(
    values: Mapping[str, float], path=None, *, mark: float | None = None, mark_label: str = "mean"
) -> Figure:
    """Draw one horizontal bar a name for shares in [0, 1], such as accuracy by speaker.

    Args:
        values: name to share, drawn from top to bottom in this order.
        path: where to save the PNG as well, if given.
        mark: a share to mark with a dashed line, such as the mean of all.
        mark_label: what the dashed line is.
    """
    with matplotlib.rc_context(_STYLE | {"axes.grid.axis": "x", "axes.spines.left": False}):
        figure = Figure(figsize=(6.4, 0.7 + 0.3 * max(3, len(values))), layout="constrained")
        axis = figure.add_subplot(xlim=(0, 1))
        places = range(len(values))
        axis.barh(places, list(values.values()), height=0.66, color=COLOURS[0])
        for place, share in enumerate(values.values()):
            inside = share > 0.9
            axis.text(
                share + (-0.01 if inside else 0.01),
                place,
                f"{share:.0%}",
                ha="right" if inside else "left",
                va="center",
                fontsize=8.5,
                color="white" if inside else INK,
            )
        axis.set_yticks(places, list(values))
        axis.tick_params(axis="y", length=0, labelcolor=INK)
        axis.invert_yaxis()
        axis.xaxis.set_major_formatter(matplotlib.ticker.PercentFormatter(1.0))
        if mark is not None:
            axis.axvline(mark, color=COLOURS[1], linestyle="--", linewidth=1.4)
            axis.set_title(
                f"dashed: {mark_label} {mark:.1%}", fontsize=9, weight="normal", color=MUTED
            )
    return _saved(figure, path)


def plot_histograms(values: Mapping[str, Sequence[float]], path=None, *, bins: int = 30) -> Figure:
    """Draw how values are distributed, one panel a name, three in a row.

    Args:
        values: name, with its unit, to numbers; at least one each.
        path: where to save the PNG as well, if given.
        bins: bars of a panel.
    """
    rows, columns = _grid(len(values))
    with matplotlib.rc_context(_STYLE | {"axes.grid.axis": "y"}):
        figure = Figure(figsize=(3.4 * columns, 2.2 * rows), layout="constrained")
        for number, (name, numbers) in enumerate(values.items(), 1):
            axis = figure.add_subplot(rows, columns, number, title=name)
            low, high = min(numbers), max(numbers)
            # Of all the same one bar, in view.
            margin = 0.0 if low < high else 0.1 * abs(low) or 1.0
            axis.hist(numbers, bins, range=(low - margin, high + margin), color=COLOURS[0])
            axis.yaxis.set_major_locator(matplotlib.ticker.MaxNLocator(5, integer=True))
    return _saved(figure, path)


def plot_groups(values: Mapping[str, Mapping[str, float]], path=None, *, title: str = "") -> Figure:
    """Draw a group of vertical bars a name, one bar a series, such as before and after.

    Args:
        values: name of the group to name of the series to number; groups and series are drawn in
            this order.
        path: where to save the PNG as well, if given.
        title: what the numbers are.
    """
    series = list(dict.fromkeys(name for group in values.values() for name in group))
    with matplotlib.rc_context(_STYLE | {"axes.grid.axis": "y", "axes.spines.left": False}):
        figure = Figure(figsize=(max(6.4, 0.9 * len(values)), 3.2), layout="constrained")
        axis = figure.add_subplot(title=title)
        width = 0.8 / len(series)
        for i, name in enumerate(series):
            heights = [group.get(name, np.nan) for group in values.values()]
            places = np.arange(len(values)) + (i - (len(series) - 1) / 2) * width
            axis.bar(places, heights, 0.9 * width, color=COLOURS[i % len(COLOURS)], label=name)
        longest = max(len(line) for name in values for line in name.split("\n"))
        fits = longest * len(values) <= 44  # characters, beside the legend
        axis.set_xticks(
            np.arange(len(values)),
            list(values),
            rotation=0 if fits else 30,
            ha="center" if fits else "right",
        )
        axis.tick_params(axis="both", length=0)
        axis.axhline(0, color=RULE, linewidth=0.8)
        figure.legend(loc="outside right upper")
    return _saved(figure, path)


def plot_panels(values: Mapping[str, Mapping[str, Mapping[str, float]]], path=None) -> Figure:
    """Draw a panel a metric, each with a scale of its own and a horizontal bar a system.

    Args:
        values: title of the panel to name of the bar to its "value", and "low" and "high" where its
            interval is known; a bar that a panel lacks is left out there.
        path: where to save the PNG as well, if given.
    """
    names = list(dict.fromkeys(name for panel in values.values() for name in panel))
    rows, columns = _grid(len(values), 4)
    with matplotlib.rc_context(_STYLE | {"axes.grid.axis": "x", "axes.spines.left": False}):
        size = 1.6 + 2.2 * columns, rows * (0.8 + 0.32 * len(names))
        figure = Figure(figsize=size, layout="constrained")
        axes = figure.subplots(rows, columns, sharey=True, squeeze=False).ravel()
        for axis, (title, panel) in zip(axes, values.items(), strict=False):
            axis.set_title(title)
            largest = max(each.get("high", each["value"]) for each in panel.values())
            for name, each in panel.items():
                place, value = names.index(name), each["value"]
                axis.barh(place, value, 0.66, color=COLOURS[place % len(COLOURS)])
                low, high = each.get("low", value), each.get("high", value)
                if low < high:
                    axis.plot([low, high], [place, place], color=INK, linewidth=1.2)
                axis.text(high + 0.02 * largest, place, f"{value:.3g}", va="center", fontsize=8.5)
            axis.set_xlim(0, 1.25 * largest or 1.0)
            axis.tick_params(length=0)
            axis.tick_params(axis="y", labelcolor=INK)
        for axis in axes[len(values) :]:
            axis.set_axis_off()
        axes[0].set_yticks(range(len(names)), names)
        axes[0].invert_yaxis()
    return _saved(figure, path)


def plot_shares(values: Mapping[str, Mapping[str, float]], path=None) -> Figure:
    """Draw of what a sum is made, a pie a name.

    Args:
        values: name of the pie to name of the part to number, none below 0.
        path: where to save the PNG as well, if given.
    """
    rows, columns = _grid(len(values))
    with matplotlib.rc_context(_STYLE):
        figure = Figure(figsize=(2.6 * columns, 0.5 + 2.6 * rows), layout="constrained")
        parts: list[str] = []
        for number, (name, shares) in enumerate(values.items(), 1):
            axis = figure.add_subplot(rows, columns, number)
            axis.set_title(name, fontsize=9, loc="center")
            parts = list(shares)
            if any(shares.values()):
                axis.pie(
                    list(shares.values()),
                    colors=COLOURS,
                    autopct="%.0f %%",
                    pctdistance=1.22,  # outside: the labels of small shares would overlap within
                    startangle=90,
                    textprops={"color": INK, "fontsize": 9},
                )
            else:
                axis.set_axis_off()
        figure.legend(parts, loc="outside lower center", ncols=max(1, len(parts)))
    return _saved(figure, path)


def plot_reliability(
    confidence: np.ndarray, accuracy: np.ndarray, count: np.ndarray, path=None
) -> Figure:
    """Draw how often predictions are right against how sure they are.

    The diagonal is as it should be.

    Args:
        confidence: mean confidence of the predictions in each bin [N], as `metrics.reliability`
            gives it.
        accuracy: share of them that is right [N].
        count: how many they are [N]; shown by the size of the dots.
        path: where to save the PNG as well, if given.
    """
    shares = count / max(count.sum(), 1)
    error = np.nansum(np.abs(confidence - accuracy) * shares)
    with matplotlib.rc_context(_STYLE):
        figure = Figure(figsize=(4.6, 4.2), layout="constrained")
        axis = figure.add_subplot(
            xlim=(0, 1.02), ylim=(0, 1.02), xlabel="confidence", ylabel="share that is right"
        )
        axis.plot([0, 1], [0, 1], color=MUTED, linestyle="--", linewidth=1)
        axis.plot(confidence[count > 0], accuracy[count > 0], color=COLOURS[0], alpha=0.4)
        axis.scatter(confidence, accuracy, s=20 + 500 * shares, color=COLOURS[0], zorder=3)
        for side in (axis.xaxis, axis.yaxis):
            side.set_major_formatter(matplotlib.ticker.PercentFormatter(1.0))
        axis.set_title(f"calibration error {error:.1%}, {count.sum():g} clips")
    return _saved(figure, path)


def plot_det(curves: Mapping[str, tuple[np.ndarray, np.ndarray]], path=None) -> Figure:
    """Draw detection error trade-offs.

    False rejects against false accepts, both on the scale of a normal deviate.

    Args:
        curves: name to (false accepts [K], false rejects [K]), as `metrics.det_curve` gives them.
        path: where to save the PNG as well, if given.
    """
    from scipy import special

    marks = np.array([0.001, 0.005, 0.02, 0.05, 0.1, 0.2, 0.4])
    with matplotlib.rc_context(_STYLE):
        figure = Figure(figsize=(5.0, 4.8), layout="constrained")
        axis = figure.add_subplot(
            xlabel="different speakers taken for one", ylabel="one speaker taken for two"
        )
        for colour, (name, rates) in zip(itertools.cycle(COLOURS), curves.items(), strict=False):
            axis.plot(*special.ndtri(np.clip(rates, 1e-5, 1 - 1e-5)), color=colour, label=name)
        ends = special.ndtri([0.0005, 0.5])
        axis.plot(ends, ends, color=MUTED, linestyle="--", linewidth=1)
        axis.set(xlim=ends, ylim=ends)
        axis.set_xticks(
            special.ndtri(marks),
            [f"{mark:.1%}" if mark < 0.01 else f"{mark:.0%}" for mark in marks],
        )
        axis.set_yticks(
            special.ndtri(marks),
            [f"{mark:.1%}" if mark < 0.01 else f"{mark:.0%}" for mark in marks],
        )
        axis.legend()
    return _saved(figure, path)


def plot_scores(
    scores: np.ndarray, same: np.ndarray, path=None, *, threshold: float | None = None
) -> Figure:
    """Draw how the scores of same-speaker trials and of others are distributed.

    Args:
        scores: of each trial [N].
        same: whether it is the same speaker [N] bool.
        path: where to save the PNG as well, if given.
        threshold: a score to mark with a dashed line.
    """
    with matplotlib.rc_context(_STYLE):
        figure = Figure(figsize=(5.6, 3.4), layout="constrained")
        axis = figure.add_subplot(xlabel="score", ylabel="density", yticks=[])
        bins = np.histogram_bin_edges(scores, 80).tolist()
        for name, chosen, colour in (
            ("different speakers", ~same, COLOURS[1]),
            ("same speaker", same, COLOURS[0]),
        ):
            label = f"{name}, {chosen.sum():,} trials"
            axis.hist(scores[chosen], bins, density=True, color=colour, alpha=0.6, label=label)
        if threshold is not None:
            axis.axvline(threshold, color=INK, linestyle="--", linewidth=1.2)
        figure.legend(loc="outside upper center", ncols=2, frameon=False)
    return _saved(figure, path)


def plot_projection(
    embeddings: np.ndarray, names: Sequence[str], path=None, *, max_speakers: int = 12
) -> Figure:
    """Draw embeddings in the plane of the first two principal components of the speakers' means.

    Args:
        embeddings: [B, E].
        names: who speaks each [B]; the first `max_speakers` in sorted order are drawn.
        path: where to save the PNG as well, if given.
        max_speakers: speakers to draw; more colours look alike.
    """
    speakers = np.asarray(names)
    drawn, means = (
        of_all[:max_speakers] for of_all in metrics.mean_by_speaker(embeddings, speakers)
    )
    axes = np.linalg.svd(means - means.mean(axis=0), full_matrices=False)[2][:2]  # [2, E]
    points = (embeddings - means.mean(axis=0)) @ axes.T  # [B, 2]
    colours = matplotlib.colormaps["tab20"](range(20))
    with matplotlib.rc_context(_STYLE):
        figure = Figure(figsize=(6.2, 4.6), layout="constrained")
        axis = figure.add_subplot(xticks=[], yticks=[])
        for colour, name in zip(itertools.cycle(colours), drawn, strict=False):
            x, y = points[speakers == name].T
            axis.scatter(x, y, s=16, color=colour, alpha=0.8, label=name)
        axis.legend(loc="center left", bbox_to_anchor=(1, 0.5), fontsize=8)
    return _saved(figure, path)


def plot_timeline(segments: Iterable, path=None) -> Figure:
    """Draw the probability of each class over the time of a recording; in silence there is none.

    Args:
        segments: `start`, `end` in seconds and `probabilities` of each, as a classifier's
            `timeline` gives them.
        path: where to save the PNG as well, if given.
    """
    segments = list(segments)
    names = next((list(segment.probabilities) for segment in segments if segment.probabilities), [])
    edges = [*(segment.start for segment in segments), segments[-1].end]
    with matplotlib.rc_context(_STYLE):
        figure = Figure(figsize=(6.4, 2.6), layout="constrained")
        axis = figure.add_subplot(xlim=(edges[0], edges[-1]), ylim=(0, 1.02), xlabel="seconds")
        for i, name in enumerate(names):
            shares = [segment.probabilities.get(name, np.nan) for segment in segments]
            axis.stairs(
                shares,
                edges,
                baseline=None,
                color=COLOURS[i % len(COLOURS)],
                label=name,
                linewidth=2,
            )
        axis.yaxis.set_major_formatter(matplotlib.ticker.PercentFormatter(1.0))
        if names:
            figure.legend(loc="outside right upper")
    return _saved(figure, path)


def plot_spectrogram(samples: np.ndarray, sample_rate: int, path=None) -> Figure:
    """Draw a recording's waveform above its spectrogram in dB.

    Args:
        samples: mono waveform [N] in [-1, 1].
        sample_rate: samples a second.
        path: where to save the PNG as well, if given.
    """
    samples = np.asarray(samples, np.float32)
    with matplotlib.rc_context(_STYLE | {"axes.grid": False}):
        figure = Figure(figsize=(4.8, 2.9), layout="constrained")
        wave, image = figure.subplots(2, 1, sharex=True, height_ratios=(1, 2.6))
        _draw_waveform(wave, samples, sample_rate)
        wave.spines[["bottom"]].set_visible(False)
        wave.tick_params(axis="x", length=0)
        _draw_spectrogram(image, samples, sample_rate)
        image.set(xlabel="seconds", ylabel="kHz")
    return _saved(figure, path)


def plot_spectrograms(recordings: Mapping[str, tuple[np.ndarray, int]], path=None) -> Figure:
    """Draw spectrograms in dB beside each other, by one scale of time.

    Args:
        recordings: name to mono waveform [N] in [-1, 1] and its samples a second.
        path: where to save the PNG as well, if given.
    """
    rows, columns = _grid(len(recordings))
    with matplotlib.rc_context(_STYLE | {"axes.grid": False}):
        figure = Figure(figsize=(3.2 * columns, 0.3 + 2.0 * rows), layout="constrained")
        axes = figure.subplots(rows, columns, sharex=True, sharey=True, squeeze=False)
        for axis, (name, (samples, rate)) in zip(axes.flat, recordings.items(), strict=False):
            axis.set_title(name, fontsize=9)
            _draw_spectrogram(axis, samples, rate)
        for axis in axes.flat[len(recordings) :]:
            axis.set_axis_off()
        for axis in axes.flat[len(recordings) - columns : len(recordings)]:
            axis.tick_params(labelbottom=True)  # the last one of each column
        longest = max(len(samples) / rate for samples, rate in recordings.values())
        axes[0, 0].set_xlim(0, longest)
        figure.supxlabel("seconds", fontsize=9, color=MUTED)
        figure.supylabel("kHz", fontsize=9, color=MUTED)
    return _saved(figure, path)


def plot_waveform(samples: np.ndarray, sample_rate: int, path=None) -> Figure:
    """Draw how loud a recording is over time: its largest and smallest sample in each of many spans.

    Args:
        samples: mono waveform [N] in [-1, 1].
        sample_rate: samples a second.
        path: where to save the PNG as well, if given.
    """
    with matplotlib.rc_context(_STYLE | {"axes.grid": False}):
        figure = Figure(figsize=(3.4, 1.2), layout="constrained")
        axes = figure.subplots()
        _draw_waveform(axes, np.asarray(samples, np.float32), sample_rate)
        axes.set(xlabel="seconds")
    return _saved(figure, path)


def _draw_waveform(axes, samples: np.ndarray, sample_rate: int):
    """Draw the largest and the smallest sample of many spans."""
    starts = np.unique(np.linspace(0, len(samples), 600, endpoint=False).astype(int))
    high, low = (reduce.reduceat(samples, starts) for reduce in (np.maximum, np.minimum))
    axes.fill_between(starts / sample_rate, low, high, color=COLOURS[0], linewidth=0.4)
    axes.set(xlim=(0, len(samples) / sample_rate), yticks=[])
    axes.spines[["left"]].set_visible(False)


def _draw_spectrogram(axes, samples: np.ndarray, sample_rate: int):
    """Draw the power in dB, down to 70 below the loudest."""
    from lin_jax.audio import frontend

    samples = np.asarray(samples, np.float32)
    window = max(2, round(0.025 * sample_rate))
    hop = max(1, round(0.005 * sample_rate))
    n_fft = 1 << (window - 1).bit_length()
    power = np.abs(np.asarray(frontend.stft(samples, n_fft, hop, window)).T) ** 2  # [F, T]
    decibels = 10 * np.log10(np.maximum(power, 1e-10))
    extent = (0, len(samples) / sample_rate, 0, sample_rate / 2000)
    floor = decibels.max() - 70
    axes.imshow(decibels, origin="lower", aspect="auto", cmap="magma", extent=extent, vmin=floor)


def _grid(panels: int, most: int = 3) -> tuple[int, int]:
    """Rows and columns of some panels, of which at most so many stand side by side."""
    columns = min(most, max(1, panels))
    return max(1, -(-panels // columns)), columns


def pixels(figure: Figure) -> np.ndarray:
    """Return a figure as uint8 [height, width, 3], what an image writer takes."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())[..., :3].copy()


def _saved(figure: Figure, path) -> Figure:
    if path is not None:
        pathlib.Path(path).parent.mkdir(parents=True, exist_ok=True)
        figure.savefig(path, dpi=160)
    return figure
