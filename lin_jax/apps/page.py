"""The page in the browser, made with Gradio: record or drop a recording, and see what is heard in it."""

import asyncio
import os
from collections.abc import Sequence

import lin_jax
from lin_jax.apps import answers, report, web
from lin_jax.errors import LinError

os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"  # read on import: nothing leaves the machine
import gradio as gr

QUESTIONS = {
    "emotion": "Which emotion does the voice carry?",
    "gender": "Is it a woman's voice, a man's, or none at all?",
}
TIMELINE_SECONDS = 10.0  # a longer recording is shown over time as well
SHOWN_SECONDS = 30.0  # of the spectrogram
KEPT_SECONDS = 600  # recordings on the disk of whoever serves the page, so that they can be played again


def mount(app, models: Sequence[web.Model], folder: str):
    """Put the page at the root of a FastAPI application.

    Args:
      app: the application.
      models: what is served.
      folder: where recordings lie while they are looked at.
    """
    os.environ["GRADIO_TEMP_DIR"] = folder
    fonts = ["system-ui", "-apple-system", "Segoe UI", "Roboto", "sans-serif"]  # none is fetched from anywhere
    theme = gr.themes.Soft(primary_hue="blue", radius_size="lg", font=fonts, font_mono=["ui-monospace", "monospace"])

    async def put():
        gr.mount_gradio_app(
            app,
            build(models),
            path="/",
            theme=theme,
            css=report.STYLE + answers.STYLE + _STYLE,
            footer_links=[],
            run_history=False,
            ssr_mode=False,
            max_file_size=f"{web.LARGEST_MEGABYTES}mb",
        )

    asyncio.run(put())  # where no event loop runs, Gradio opens one for each of its locks and closes none


def build(models: Sequence[web.Model]) -> gr.Blocks:
    """The page's parts and what they do: a tab for each model."""
    addresses = ", ".join(f"/api/{model.job}" for model in models)
    with gr.Blocks(title="lin_jax", delete_cache=(60, KEPT_SECONDS)) as blocks:
        gr.HTML(_HEADER)
        with gr.Tabs():
            for model in models:
                if model.job == "verify":
                    with gr.Tab("Same speaker?"):
                        _verify_tab(model)
                else:
                    with gr.Tab(model.job.capitalize()):
                        _classifier_tab(model)
        gr.HTML(_FOOTER.format(version=lin_jax.__version__, addresses=addresses))
    return blocks


def _classifier_tab(model):
    question = QUESTIONS.get(model.job, f"What is the {model.job} of the voice?")
    hint = answers.hint(f"{question} Record a sentence, or drop a recording on the left.")

    def hear(path):
        return _heard(model.bundle, path) if path else hint

    _tab(model, ["A voice"], hint, hear)


def _verify_tab(model):
    hint = answers.hint(
        "Is it the same person? Give two recordings of a few seconds each; what is said does not matter."
    )

    def judge(a, b):
        return answers.judged(web.compare(model.bundle, [a], [b], _names(a, b))) if a and b else hint

    _tab(model, ["One voice", "The other voice"], hint, judge)


def _tab(model, labels, hint, answer):
    """Recorders on the left; on the right what `answer` makes of their files, None where there is none, as HTML."""

    def show(*paths):
        try:
            return answer(*paths)
        except LinError as error:
            return answers.problem(error)

    with gr.Row(equal_height=False):
        with gr.Column(scale=2, min_width=320):
            recorders = [
                gr.Audio(sources=["microphone", "upload"], type="filepath", label=label, buttons=[]) for label in labels
            ]
        with gr.Column(scale=3, min_width=360):
            shown = gr.HTML(hint)
    with gr.Accordion("About this model", open=False):
        gr.Markdown(model.card)
    gr.on([recorder.change for recorder in recorders], show, recorders, shown, api_visibility="private")


def _heard(bundle, path: str) -> str:
    from lin_jax.audio import files

    names = _names(path)
    with web.named(names):
        heard = bundle.predict(path)
        parts = [answers.heard(heard)]
        if heard.seconds > TIMELINE_SECONDS:
            timeline = report.plot_timeline(bundle.timeline(path))
            parts.append(report.picture(timeline, "how likely each is over time"))
        spectrogram = report.plot_spectrogram(*files.read(path, duration=SHOWN_SECONDS))
        parts.append(report.picture(spectrogram, names[path]))
    return "".join(parts)


def _names(*paths: str) -> dict[str, str]:
    return {path: os.path.basename(path) for path in paths}


_HEADER = """<div class="banner"><h1>What is in a voice</h1>
<p>Everything is worked out on the machine that serves this page: nothing leaves it.</p></div>"""
_FOOTER = (
    '<div class="foot">lin_jax {version} · answers are estimates: do not decide anything about anyone by them · '
    "other programs: POST {addresses}</div>"
)
_STYLE = """
.dark{--ink:#e6e9f5;--muted:#98a2b3;--rule:#344054;--paper:#1d2433;--ground:#2a3347}
.gradio-container{max-width:1080px!important;margin:0 auto!important}
.banner{background:linear-gradient(120deg,#14246b,#2f5bea 65%,#4f8df5);border-radius:16px;padding:36px 40px 30px}
.banner h1{margin:0;font-size:34px;line-height:1.2;letter-spacing:-.02em;color:#fff}
.banner p{margin:8px 0 0;font-size:17px;color:#dde6ff}
figure{background:#fff;border:1px solid var(--rule);border-radius:12px;padding:12px}
.foot{color:var(--muted);font-size:13px;text-align:center;padding:8px}
"""
