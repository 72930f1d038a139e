"""Plots draw what they are given."""

import numpy as np
import pytest

from lin_jax.bundles import Segment
from lin_jax.reporting import plots

HISTORY = [
    {"step": 1, "train/loss": 2.0, "learning_rate": 1e-3, "note": "text is no curve"},
    {"step": 2, "train/loss": 1.5, "learning_rate": 1e-3, "eval/loss": 1.8, "eval/uar": 0.4},
    {"step": 3, "train/loss": 1.2, "eval/uar": 0.6},
]


def test_curves_have_a_panel_a_metric_and_a_line_a_source(tmp_path):
    figure = plots.plot_curves(HISTORY, tmp_path / "new/curves.png")
    drawn = {
        axis.get_title(loc="left"): {
            line.get_label(): line.get_xydata().tolist() for line in axis.lines
        }
        for axis in figure.axes
    }
    assert list(drawn) == ["loss", "learning rate", "uar"]
    assert drawn["loss"] == {"train": [[1, 2.0], [2, 1.5], [3, 1.2]], "eval": [[2, 1.8]]}
    assert drawn["uar"]["eval"] == [[2, 0.4], [3, 0.6]]
    assert (tmp_path / "new/curves.png").read_bytes().startswith(b"\x89PNG")


def test_confusion_shows_shares_of_the_true_class():
    figure = plots.plot_confusion(np.array([[3, 1, 0], [2, 2, 0], [0, 0, 0]]), ["a", "b", "c"])
    (axis,) = figure.axes
    np.testing.assert_allclose(
        axis.images[0].get_array(), [[0.75, 0.25, 0], [0.5, 0.5, 0], [0, 0, 0]]
    )
    assert axis.get_title(loc="left") == "mean recall 62.5%, 8 clips", (
        "a class without clips has no recall"
    )
    assert [text.get_text() for text in axis.texts] == [
        "75%",
        "3",
        "25%",
        "1",
        "50%",
        "2",
        "50%",
        "2",
    ]


def test_reliability_draws_a_dot_for_each_bin_with_clips():
    nan = np.nan
    figure = plots.plot_reliability(
        np.array([nan, 0.6, 0.9]), np.array([nan, 0.5, 1.0]), np.array([0, 1, 3])
    )
    (axis,) = figure.axes
    assert axis.lines[1].get_xydata().tolist() == [[0.6, 0.5], [0.9, 1.0]]
    assert axis.get_title(loc="left") == "calibration error 10.0%, 4 clips"


def test_spectrogram_is_brightest_at_the_tone(tmp_path):
    tone = 0.5 * np.sin(2 * np.pi * 2000 * np.arange(16000) / 16000)
    image = plots.plot_spectrogram(tone, 16000, tmp_path / "tone.png").axes[1].images[0]
    decibels = np.asarray(image.get_array())  # [F, T]
    kilohertz = np.linspace(*image.get_extent()[2:], len(decibels))[decibels[:, 50].argmax()]
    assert kilohertz == pytest.approx(2.0, abs=0.05)


def test_bars_keep_their_order_and_pixels_are_an_image():
    figure = plots.plot_bars({"Actor 02": 0.5, "Actor 01": 0.95}, mark=0.7)
    (axis,) = figure.axes
    assert [label.get_text() for label in axis.get_yticklabels()] == ["Actor 02", "Actor 01"]
    assert [bar.get_width() for bar in axis.patches] == [0.5, 0.95]
    image = plots.pixels(figure)
    assert image.dtype == np.uint8
    assert image.ndim == 3
    assert image.shape[2] == 3
    assert image.min() < 100 < 250 < image.max()


def test_plots_of_trials(tmp_path):
    """The trade-off, the scores and the plane of the speakers are drawn with what tells them
    apart.
    """
    rng = np.random.default_rng(0)
    same = np.arange(300) % 3 == 0
    scores = np.clip(rng.normal(0.2 + 0.5 * same, 0.15), -1, 1)
    curves = {"all": (np.array([0.0, 0.1, 1.0]), np.array([1.0, 0.1, 0.0]))}
    (axis,) = plots.plot_det(curves, tmp_path / "det.png").axes
    ends = -4.265, -1.282, 4.265
    np.testing.assert_allclose(axis.lines[0].get_data(), [ends, ends[::-1]], atol=1e-3)
    figure = plots.plot_scores(9 * scores, same, tmp_path / "scores.png", threshold=3.6)
    assert max(bar.get_x() + bar.get_width() for bar in figure.axes[0].patches) == pytest.approx(
        9 * scores.max()
    )
    assert [text.get_text() for text in figure.legends[0].texts] == [
        "different speakers, 200 trials",
        "same speaker, 100 trials",
    ]
    names = np.repeat(["c", "a", "b"], 20)
    embeddings = np.repeat(np.eye(3, 8), 20, axis=0) + 0.01 * rng.normal(size=(60, 8))
    (axis,) = plots.plot_projection(
        embeddings, names, tmp_path / "projection.png", max_speakers=2
    ).axes
    assert [text.get_text() for text in axis.get_legend().texts] == ["a", "b"]
    means = np.stack([points.get_offsets().mean(axis=0) for points in axis.collections])
    assert np.linalg.norm(means[0] - means[1]) == pytest.approx(2**0.5, abs=0.02)
    assert all((tmp_path / name).exists() for name in ("det.png", "scores.png", "projection.png"))


def test_timeline_has_gaps_in_silence(tmp_path):
    segments = [
        Segment(0.0, 3.0, "loud", {"loud": 0.75, "soft": 0.25}),
        Segment(3.0, 6.0, None, {}),
    ]
    (axis,) = plots.plot_timeline(segments, tmp_path / "timeline.png").axes
    loud, soft = axis.patches
    np.testing.assert_array_equal(loud.get_data().values, [0.75, np.nan])
    np.testing.assert_array_equal(soft.get_data().edges, [0, 3, 6])


def test_groups_have_a_bar_for_each_series():
    values = {"noise": {"before": 7.0, "after": 13.0}, "room": {"before": 2.0}}
    (axis,) = plots.plot_groups(values, title="SI-SDR, dB").axes
    assert [label.get_text() for label in axis.get_xticklabels()] == ["noise", "room"]
    heights = [[bar.get_height() for bar in bars] for bars in axis.containers]
    assert heights[0] == [7.0, 2.0]
    assert heights[1][0] == 13.0
    assert np.isnan(heights[1][1]), "what is not there has no bar"
    assert {label.get_rotation() for label in axis.get_xticklabels()} == {0}
    (axis,) = plots.plot_groups({f"a long name {n}": {"after": 1.0} for n in range(5)}).axes
    assert {label.get_rotation() for label in axis.get_xticklabels()} == {30}, "they would overlap"


def test_panels_have_scales_of_their_own():
    values = {
        "Q": {"a": {"value": 0.1, "low": 0.05, "high": 0.2}, "b": {"value": 0.3}},
        "MCD, dB": {"b": {"value": 9.0}},
    }
    quality, distance = plots.plot_panels(values).axes
    assert [label.get_text() for label in quality.get_yticklabels()] == ["a", "b"]
    assert [bar.get_width() for bar in quality.patches] == [0.1, 0.3]
    (interval,) = quality.lines
    np.testing.assert_array_equal(interval.get_xydata(), [[0.05, 0], [0.2, 0]])
    (bar,) = distance.patches
    assert bar.get_y() + bar.get_height() / 2 == pytest.approx(1), "beside its name"
    assert distance.get_xlim()[1] > 9 > 1 > quality.get_xlim()[1]


def test_spectrograms_share_one_scale_of_time(tmp_path):
    t = np.arange(16000) / 16000
    recordings = {
        "short": (0.5 * np.sin(2 * np.pi * 2000 * t[:8000]), 16000),
        "long": (0.5 * np.sin(2 * np.pi * 3000 * t), 16000),
    }
    panels = plots.plot_spectrograms(recordings, tmp_path / "panel.png").axes
    assert [axis.get_title(loc="left") for axis in panels] == list(recordings)
    assert {axis.get_xlim() for axis in panels} == {(0.0, 1.0)}
    assert [axis.images[0].get_extent()[1] for axis in panels] == [0.5, 1.0]
    assert (tmp_path / "panel.png").exists()


def test_histograms_have_a_panel_for_each_name(tmp_path):
    values = {
        "length, s": [1.0, 1.0, 2.0],
        "level, dB": [-20.0],
        "clips": [3, 4],
        "band, Hz": [8e3],
    }
    panels = plots.plot_histograms(values, tmp_path / "histograms.png", bins=2).axes
    assert [axis.get_title(loc="left") for axis in panels] == list(values)
    assert [bar.get_height() for bar in panels[0].patches] == [2, 1]
    assert (tmp_path / "histograms.png").exists()
    (panel,) = plots.plot_histograms({"band, Hz": [8000.0] * 3}).axes
    low, high = panel.get_xlim()
    assert low < 7500, "all of the same: on a scale that can be read"
    assert high > 8500


def test_shares_are_a_pie_for_each_name():
    figure = plots.plot_shares({"a": {"pitch": 1.0, "loudness": 3.0}, "b": {"pitch": 0.0}})
    first, second = figure.axes
    angles = [wedge.theta2 - wedge.theta1 for wedge in first.patches]
    assert angles == pytest.approx([90, 270])
    assert [axis.get_title() for axis in (first, second)] == ["a", "b"]
    assert not second.patches, "of nothing"
