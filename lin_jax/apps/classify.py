"""What jobs that classify recordings share: their command, their endpoint and their tab."""

import asyncio
import dataclasses
import itertools
import json
import os
from collections.abc import Iterator

from lin_jax.apps import serving
from lin_jax.apps.common import (
    Command,
    clock,
    complain,
    finish,
    inputs_argument,
    json_argument,
    load_bundle,
    model_argument,
    printable,
    progress,
    recordings,
)
from lin_jax.apps.jobs import Job, example_speech
from lin_jax.errors import AudioError

KIND = "classification"
TIMELINE_SECONDS = 10.0  # a longer recording is shown over time as well


def classification_job(name: str, summary: str, teach: str, question: str, notice: str = "") -> Job:
    """The job of the bundle of that name.

    Args:
        name: of the bundle, the command and the address.
        summary: of the command, in a line.
        teach: what its `--help` teaches.
        question: that its tab answers.
        notice: what the answer must not be used for, a line.
    """
    return Job(
        name=name,
        title=name.capitalize(),
        kind=KIND,
        bundle=name,
        commands=(Command(name, summary, teach, _arguments, _classify),),
        endpoint=lambda router, model: _endpoint(router, model, name),
        tab=lambda model, folder: _tab(model, folder, name, question, notice),
        requests=f"curl -F file=@clip.wav localhost:7860/v1/{name:<12} the same JSON as lin {name} --json",
        warm_up=lambda bundle, seconds: bundle.predict(*example_speech(bundle, seconds)),
        serves=lambda bundle: bundle.name == name,
    )


def _arguments(parser):
    inputs_argument(parser)
    model_argument(parser)
    json_argument(parser)
    parser.add_argument(
        "--timeline",
        action="store_true",
        help="classify window by window, with times; for recordings of any length",
    )


def _classify(args) -> int:
    """Print the class of each recording."""
    paths, failed = recordings(args.inputs)
    if not paths:
        return 2
    bundle = load_bundle(args.model or args.command, KIND)
    width = min(48, max(len(printable(path)) for path in paths))
    done = 0
    with progress(1 if args.timeline else len(paths), "file") as bar:
        for path in paths:
            try:
                lines = (
                    _timeline(bundle, path, args)
                    if args.timeline
                    else [_line(bundle, path, args, width)]
                )
                for line in lines:
                    bar.write(line)
                done += 1
            except AudioError as error:
                complain(error)
                failed += 1
            bar.update()
    return finish(done, failed)


def _line(bundle, path, args, width) -> str:
    prediction = bundle.predict(path)
    if args.json:
        return json.dumps(as_json(args.command, path, prediction))
    return f"{printable(path):<{width}}  {in_words(prediction)}"


def as_json(job: str, path: str, prediction) -> dict:
    """What `--json` and the HTTP API print of a recording.

    The file, the job's name with its label, how sure it is, and the bundle's note, or "".
    """
    return {
        "file": path,
        job: prediction.label,
        "probability": round(prediction.probability, 6),
        "seconds": round(prediction.seconds, 3),
        "probabilities": _rounded(prediction.probabilities),
        "note": prediction.note,
    }


def _timeline(bundle, path, args) -> Iterator[str]:
    from lin_jax.audio import files

    seconds = files.duration(path)
    with progress(round(seconds), "s") as bar:

        def segments():
            for segment in bundle.timeline(path):
                yield segment
                bar.update(segment.end - segment.start)

        if args.json:
            for segment in segments():
                span = {"start": round(segment.start, 3), "end": round(segment.end, 3)}
                row = {"file": path, **span, args.command: segment.label}
                yield json.dumps(row | {"probabilities": _rounded(segment.probabilities)})
            return
        head = f"{printable(path)}  {clock(seconds)}"
        for label, group in itertools.groupby(segments(), key=lambda segment: segment.label):
            run = list(group)
            if label in run[0].probabilities:
                mean = sum(segment.probabilities[label] for segment in run) / len(run)
                what = f"{label:<10} {mean:4.0%}"
            else:
                what = label or "(silence)"
            if head:  # only now is it known that the recording can be read
                yield head
            head = ""
            yield f"  {clock(run[0].start)} – {clock(run[-1].end)}  {what}"


def in_words(prediction) -> str:
    """The label, then the two likeliest others; where it is none of them, such as "unsure", it stands alone."""
    label, probabilities = prediction.label, prediction.probabilities
    others = {name: share for name, share in probabilities.items() if name != label}
    ranked = sorted(others.items(), key=lambda item: -item[1])
    rest = ", ".join(f"{name} {share:.0%}" for name, share in ranked[:2])
    share = f"{probabilities[label]:4.0%}" if label in probabilities else "    "
    answer = f"{label:<10} {share}   {rest}".rstrip()
    return f"{answer}   ({prediction.note})" if prediction.note else answer


def _rounded(probabilities: dict[str, float]) -> dict[str, float]:
    return {name: round(share, 6) for name, share in probabilities.items()}


def predict(bundle, path: str):
    """The `Prediction` of a recording."""
    return bundle.predict(path)


def _endpoint(router, model, name):
    from lin_jax.apps import api

    async def answer(path, recording):
        return as_json(name, recording, await model.run(predict, path, recordings=[path]))

    description = "The likeliest class of each recording, and how likely each class is."
    api.answer_recordings(router, model, name, _answer_type(name), description, answer)


def _answer_type(job: str) -> type:
    """The fields of what `as_json` makes."""
    fields = {"file": str, job: str, "probability": float, "seconds": float}
    kinds = [*fields.items(), ("probabilities", dict[str, float]), ("note", str)]
    return dataclasses.make_dataclass(f"{job.capitalize()}Answer", kinds)


def _tab(model, folder, name, question, notice):
    from lin_jax.apps import page, results
    from lin_jax.reporting import html, plots

    hint = results.hint(f"{question} Drop a recording, or record a sentence.")

    def draw(segments):
        return html.picture(plots.plot_timeline(segments), "how likely each is over time")

    async def classify(path):
        if not path:
            return hint
        names = page.names(path)
        with serving.named(names):
            prediction = await model.run(predict, path, recordings=[path])
            parts = [as_html(prediction)]
            if prediction.seconds > TIMELINE_SECONDS:
                segments = await model.run(timeline_segments, path, recordings=[path])
                parts.append(await asyncio.to_thread(draw, segments))
            parts.append(await page.spectrogram(path, names[path]))
        return "".join(parts)

    async def row(path):
        prediction = await model.run(predict, path, recordings=[path])
        cells = as_json(name, os.path.basename(path), prediction)
        return {key: value for key, value in cells.items() if key != "probabilities"} | {
            f"probability of {label}": share for label, share in cells["probabilities"].items()
        }

    page.question_tab(["A voice"], hint, classify, page.A_VOICE, notice)
    page.batch(folder, row)


def timeline_segments(bundle, path: str) -> list:
    """The `Segment`s of a recording."""
    return list(bundle.timeline(path))


def as_html(prediction) -> str:
    """What a recording is, and how likely each class is."""
    from lin_jax.apps import results
    from lin_jax.reporting import html

    sure = prediction.label in prediction.probabilities
    doubt = "no answer is likely enough" if prediction.probabilities else "not answered"
    how = f"{prediction.probability:.0%} sure" if sure else doubt
    below = " · ".join(filter(None, [how, f"{prediction.seconds:.1f} s", prediction.note]))
    kind = "sure" if sure else "unsure"
    return results.answer(prediction.label, below, kind) + html.bars(prediction.probabilities)
