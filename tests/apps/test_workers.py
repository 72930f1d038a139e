"""Work in threads and in processes: its order, its limits and its end."""

import functools
import os
import threading
import time
import types
from concurrent.futures import CancelledError

import jax
import numpy as np
import pytest
import soundfile
from helpers import work
from helpers.recordings import RATE, tone

import lin_jax
from lin_jax import bundles
from lin_jax.apps import fair_pool, workers
from lin_jax.audio.frontend import FrontendConfig
from lin_jax.errors import AudioError, WorkCancelledError
from lin_jax.models.residual_classifier import ResidualClassifier


def wait(bundle, event):
    """Work that ends when it may."""
    event.wait()
    return bundle


def test_a_full_queue_refuses_and_what_waits_can_be_cancelled(monkeypatch):
    monkeypatch.setattr(workers, "MAX_WAITING", 1)
    worker, event = workers.Worker("bundle"), threading.Event()
    running = worker.submit(wait, (event,))
    while not running.running():
        time.sleep(0.01)
    waiting = worker.submit(wait, (event,))
    with pytest.raises(workers.BusyError, match="1 requests are waiting"):
        worker.submit(wait, (event,))
    assert waiting.cancel()
    event.set()
    assert running.result(5) == "bundle"
    with pytest.raises(CancelledError):
        waiting.result(5)


def meet(bundle, barrier):
    """Work that ends when another does the same."""
    return barrier.wait(5)


def test_a_bundle_that_threads_may_use_at_once_is():
    worker = workers.Worker(types.SimpleNamespace(concurrent=True))
    barrier = threading.Barrier(2)
    both = [worker.submit(meet, (barrier,)) for _ in range(2)]
    assert sorted(work.result(5) for work in both) == [0, 1]


def note(bundle, done, number):
    """Work that says when it was done."""
    done.append((bundle, number))


def test_what_has_waited_longest_is_done_first_whatever_the_bundle(monkeypatch):
    pool = fair_pool.FairPool(1)
    monkeypatch.setattr(workers, "_pool", lambda: pool)
    each, event, done = [workers.Worker(name) for name in "abc"], threading.Event(), []
    each[0].submit(wait, (event,))
    order = (1, 1, 1, 0, 2, 0, 1, 2)
    later = [each[which].submit(note, (done, number)) for number, which in enumerate(order)]
    while each[0].waiting > 2:  # the first of its three is being done
        time.sleep(0.01)
    assert [worker.waiting for worker in each] == [2, 4, 2]
    event.set()
    for each_later in later:
        each_later.result(5)
    assert done == [("abc"[which], number) for number, which in enumerate(order)]
    assert [worker.waiting for worker in each] == [0, 0, 0]


def test_a_bundle_that_is_busy_holds_up_no_other(monkeypatch):
    """It takes one thread, and what waits for it stays behind what need not."""
    pool = fair_pool.FairPool(2)
    monkeypatch.setattr(workers, "_pool", lambda: pool)
    busy, free, event = workers.Worker("busy"), workers.Worker("free"), threading.Event()
    both = [busy.submit(wait, (event,)) for _ in range(2)]
    assert free.submit(meet, (threading.Barrier(1),)).result(5) == 0
    assert not any(work.done() for work in both)
    event.set()
    assert [work.result(5) for work in both] == ["busy", "busy"]


def test_long_work_without_a_source_has_a_thread():
    worker, event = workers.Worker("bundle"), threading.Event()
    long = [worker.submit(wait, (event,), is_long=True) for _ in range(2)]
    assert worker.submit(meet, (threading.Barrier(1),)).result(5) == 0
    event.set()
    assert [work.result(5) for work in long] == ["bundle", "bundle"]


@pytest.fixture
def source(tmp_path):
    """The folder of a bundle of random weights."""
    config, model = FrontendConfig(), ResidualClassifier(2, widths=(4,), blocks=(1,), hidden=4)
    D = config.num_features
    init = jax.jit(functools.partial(model.init, train=False))
    variables = init(jax.random.key(0), np.zeros((1, 99, D)), np.array([99]))
    bundle = bundles.Classifier(
        "gender",
        model,
        config,
        jax.tree.map(np.asarray, variables),
        np.zeros(D),
        np.ones(D),
        ("female", "male"),
    )
    return str(bundles.save(tmp_path / "gender", bundle, ""))


def test_short_work_is_given_up_between_two_windows(source, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    worker = workers.Worker(lin_jax.load(source))
    endless = worker.submit(work.predict_for_ever, (RATE,))
    while not endless.running():
        time.sleep(0.01)
    after = worker.submit(work.kind, ())
    endless.cancel()
    with pytest.raises(WorkCancelledError, match="nobody waits for this"):
        endless.result(30)
    assert after.result(5) == "Classifier"
    soundfile.write("clip.wav", tone(), RATE)
    prediction = worker.submit(work.predict, ("clip.wav",)).result(30)
    assert prediction.label in ("female", "male"), "what comes later is not given up"


def test_long_work_has_a_process_that_can_be_ended(source, monkeypatch):
    worker = workers.Worker(None, source)
    try:
        load = worker.submit(os.path.join, ("a", "b"), is_long=True)
        with pytest.raises(RuntimeError, match="TypeError"):  # it was called with the bundle
            load.result(60)
        long = worker.submit(work.sleep, (600.0,), is_long=True)
        while not (long.running() or long.done()):
            time.sleep(0.01)
        assert worker.submit(work.kind, ()).result(5) == "NoneType", (
            "short work does not wait for it"
        )
        started = time.monotonic()
        long.cancel()
        with pytest.raises(workers.WorkEndedError, match="took too long"):
            long.result(5)
        assert time.monotonic() - started < 2
        assert worker.submit(work.kind, (), is_long=True).result(60) == "Classifier", (
            "in another one"
        )
        with pytest.raises(AudioError, match="no such file"):
            worker.submit(work.predict, ("missing.wav",), is_long=True).result(60)
    finally:
        worker.close()
