"""The page in the browser, made with Gradio: a tab for whatever can be done with a recording or a text."""

import asyncio
import os
import pathlib
import tempfile
from collections.abc import Callable, Sequence

import lin_jax
from lin_jax.apps import results, web
from lin_jax.audio import files
from lin_jax.bundles.synthesizer import SPEEDS
from lin_jax.errors import LinError
from lin_jax.reporting import html, plots

os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"  # read on import: nothing leaves the machine
import gradio as gr

QUESTIONS = {
    "emotion": "Which emotion does the voice carry?",
    "gender": "Is it a woman's voice, a man's, or none at all?",
}
TIMELINE_SECONDS = 10.0  # a longer recording is shown over time as well
SHOWN_SECONDS = 30.0  # of the spectrogram
KEPT_SECONDS = (
    600  # recordings on the disk of whoever serves the page, so that they can be played again
)


def mount(app, models: Sequence[web.Model], folder: str):
    """Put the page at the root of a FastAPI application.

    Args:
        app: the application.
        models: what is served.
        folder: where recordings lie while they are looked at.
    """
    os.environ["GRADIO_TEMP_DIR"] = folder
    fonts = [
        "system-ui",
        "-apple-system",
        "Segoe UI",
        "Roboto",
        "sans-serif",
    ]  # none is fetched from anywhere
    theme = gr.themes.Soft(
        primary_hue="blue", radius_size="lg", font=fonts, font_mono=["ui-monospace", "monospace"]
    )

    async def put():
        blocks = build(models, folder)
        gr.mount_gradio_app(
            app,
            blocks,
            path="/",
            theme=theme,
            css=html.STYLE + results.STYLE + _STYLE,
            footer_links=[],
            run_history=False,
            ssr_mode=False,
            max_file_size=f"{web.LARGEST_MEGABYTES}mb",
        )
        # Only then does Gradio refuse an event that names a file of this machine in place of an
        # upload.
        blocks.has_launched = True

    asyncio.run(
        put()
    )  # where no event loop runs, Gradio opens one for each of its locks and closes none


def build(models: Sequence[web.Model], folder: str) -> gr.Blocks:
    """The page's parts and what they do: a tab for each model; recordings are made in the folder."""
    tabs = {
        "verify": ("Same speaker?", _verify_tab),
        "repair": ("Repair", lambda model: _repair_tab(model, folder)),
        "speak": ("Speak", lambda model: _speak_tab(model, folder)),
        "convert": ("Convert", lambda model: _speak_tab(model, folder)),
    }
    with gr.Blocks(title="lin_jax", delete_cache=(60, KEPT_SECONDS)) as blocks:
        gr.HTML(_HEADER)
        with gr.Tabs():
            for model in models:
                bundle = model.bundle
                own = (bundle.name.capitalize(), _classifier_tab)
                title, fill = tabs.get(model.jobs[0], own)
                with gr.Tab(title):
                    fill(model)
                    with gr.Accordion("About this model", open=False):
                        gr.Markdown(model.card)
        gr.HTML(
            _FOOTER.format(version=lin_jax.__version__, addresses=", ".join(web.addresses(models)))
        )
    return blocks


def _classifier_tab(model):
    name = model.bundle.name
    question = QUESTIONS.get(name, f"What is the {name} of the voice?")
    hint = results.hint(f"{question} Drop a recording, or record a sentence.")

    def hear(path):
        return _heard(model.bundle, path) if path else hint

    _listening_tab(["A voice"], hint, hear)


def _verify_tab(model):
    hint = results.hint(
        "Is it the same person? Give two recordings of a few seconds each; what is said does not matter."
    )

    def judge(a, b):
        return (
            results.judged(web.compare(model.bundle, [a], [b], _names(a, b))) if a and b else hint
        )

    _listening_tab(["One voice", "The other voice"], hint, judge)


def _repair_tab(model, folder):
    hint = results.hint(
        "Noise, clipping, coarse samples? Drop a damaged recording, or record a sentence where it is loud, and hear "
        "what becomes of it."
    )

    def mend(path, strength):
        if not path:
            return hint, None
        stem = _place(folder, f"{pathlib.Path(path).stem[:100]}_repaired")
        with web.named(_names(path, stem)):
            result = web.restore(model, path, stem, strength)
        return results.repaired(result) + _spectrogram(path, "before") + _spectrogram(
            result.out, "after"
        ), result.out

    with gr.Row(equal_height=False):
        with gr.Column(scale=2, min_width=320):
            before = _recorder("Before")
            strength = gr.Slider(0, 1, 1, step=0.05, label="How much of the repair is mixed in")
        made = _made("After", hint)
    _make([before.change, strength.release], mend, [before, strength], made)


def _speak_tab(model, folder):
    hint = results.hint(
        "Type a sentence or two, choose a voice or give a recording of whoever should speak, and press the button."
    )
    bundle = model.bundle
    names = [
        (f"{name} ({sex})" if sex else name, name)
        for name, sex in zip(bundle.names, bundle.sexes, strict=True)
    ]

    def write(name, speech, problems):
        path = _place(folder, name)
        with web.named(_names(path)):
            speech.write(path)
        return results.spoken(speech, problems) + _spectrogram(path, ""), path

    def speak(text, name, reference, speed):
        with web.named(_names(reference)):
            return write("speech.wav", *web.speak(model, text, [reference or name], speed))

    def convert_voice(path, name, reference, speed):
        if not path:
            return hint, None
        with web.named(_names(path, reference)):
            speech = web.convert_voice(model, path, [reference or name], speed)
        return write(f"{pathlib.Path(path).stem[:100]}_converted.wav", *speech)

    with gr.Row(equal_height=False):
        with gr.Column(scale=2, min_width=320):
            with gr.Tabs():
                modes = []
                if "speak" in model.jobs:
                    with gr.Tab("A text"):
                        text = gr.Textbox(
                            label="What to say",
                            placeholder="Good morning.",
                            lines=4,
                            max_length=web.MAX_TEXT,
                        )
                        modes.append((gr.Button("Speak", variant="primary"), speak, text))
                if "convert" in model.jobs:
                    with gr.Tab("A recording"):
                        said = _recorder("What to say again")
                        modes.append(
                            (gr.Button("Say it again", variant="primary"), convert_voice, said)
                        )
            name = gr.Dropdown(names, value=bundle.names[0], label="In which voice")
            reference = _recorder("Or in the voice of this recording, best of five seconds or more")
            speed = gr.Slider(*SPEEDS, 1, step=0.05, label="Speed")
            gr.HTML(_RIGHTS)
        made = _made("Synthetic speech", hint)
    for button, speak_or_convert, what in modes:
        _make([button.click], speak_or_convert, [what, name, reference, speed], made)


def _listening_tab(labels, hint, answer):
    """Recorders on the left; on the right what `answer` makes of their files, None where there is none, as HTML."""

    def show(*paths):
        try:
            return answer(*paths)
        except LinError as error:
            return results.problem(error)

    with gr.Row(equal_height=False):
        with gr.Column(scale=2, min_width=320):
            recorders = [_recorder(label) for label in labels]
        with gr.Column(scale=3, min_width=360):
            shown = gr.HTML(hint)
    gr.on(
        [recorder.change for recorder in recorders],
        show,
        recorders,
        shown,
        api_visibility="private",
    )


def _recorder(label):
    return gr.Audio(sources=["upload", "microphone"], type="filepath", label=label, buttons=[])


def _made(label, hint) -> list:
    """On the right, where a recording is shown that was made: a player, the file itself, and what there is to say."""
    with gr.Column(scale=3, min_width=360):
        player = gr.Audio(interactive=False, label=label, buttons=[], visible=False)
        download = gr.DownloadButton(
            "Download", visible=False
        )  # the player may have been given another encoding
        shown = gr.HTML(hint)
    return [shown, player, download]


def _make(events, make: Callable, given, made):
    """Show on events what `make` makes of what is given: HTML, and the path of a recording or None."""

    def show(*values):
        try:
            shown, path = make(*values)
        except LinError as error:
            shown, path = results.problem(error), None
        return shown, *(
            gr.update(value=path, visible=path is not None) for _ in range(2)
        )  # Gradio takes them apart

    gr.on(events, show, given, made, api_visibility="private")


def _place(folder, name) -> str:
    """A path for a recording that is made, in a folder of its own, from which Gradio takes it after a while."""
    return os.path.join(tempfile.mkdtemp(dir=folder), name)


def _heard(bundle, path: str) -> str:
    names = _names(path)
    with web.named(names):
        heard = bundle.predict(path)
        parts = [results.heard(heard)]
        if heard.seconds > TIMELINE_SECONDS:
            timeline = plots.plot_timeline(bundle.timeline(path))
            parts.append(html.picture(timeline, "how likely each is over time"))
        parts.append(_spectrogram(path, names[path]))
    return "".join(parts)


def _spectrogram(path: str, caption: str) -> str:
    return html.picture(plots.plot_spectrogram(*files.read(path, duration=SHOWN_SECONDS)), caption)


def _names(*paths: str | None) -> dict[str, str]:
    return {path: os.path.basename(path) for path in paths if path}


_HEADER = """<div class="banner"><h1>What is in a voice</h1>
<p>Everything is worked out on the machine that serves this page: nothing leaves it.</p></div>"""
_FOOTER = (
    '<div class="foot">lin_jax {version} · answers are estimates: do not decide anything about anyone by them · '
    "other programs: POST {addresses}</div>"
)
_RIGHTS = (
    '<p class="note">Copy only voices you may copy. The file says in its metadata that it is synthetic, and what made '
    "it.</p>"
)
_STYLE = """
.dark{--ink:#e6e9f5;--muted:#98a2b3;--rule:#344054;--paper:#1d2433;--ground:#2a3347}
.gradio-container{max-width:1080px!important;margin:0 auto!important}
.banner{background:linear-gradient(120deg,#14246b,#2f5bea 65%,#4f8df5);border-radius:16px;padding:36px 40px 30px}
.banner h1{margin:0;font-size:34px;line-height:1.2;letter-spacing:-.02em;color:#fff}
.banner p{margin:8px 0 0;font-size:17px;color:#dde6ff}
figure{background:#fff;border:1px solid var(--rule);border-radius:12px;padding:12px}
.html-container{padding:0!important}
.foot{color:var(--muted);font-size:13px;text-align:center;padding:8px}
"""
