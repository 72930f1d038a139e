"""The page in the browser, made with Gradio: a tab for each job, and what the jobs draw theirs of."""

import asyncio
import contextvars
import csv
import functools
import os
import re
import tempfile
import urllib.parse
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from html import escape

import lin_jax
from lin_jax.apps import results, serving
from lin_jax.apps.jobs import EXAMPLES, Job
from lin_jax.audio import files
from lin_jax.errors import LinError
from lin_jax.reporting import html, plots

os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"  # read on import: nothing leaves the machine
import gradio as gr

SPECTROGRAM_SECONDS = 30.0
A_VOICE = {"a woman": ("woman.mp3",), "a man": ("man.mp3",)}
TWO_VOICES = {
    "a woman and a man": ("woman.mp3", "man.mp3"),
    "a woman twice": ("woman.mp3", "woman_again.mp3"),
}
KEPT_SECONDS = 600  # that recordings are on the server's disk, so that they can be played again
POLL_SECONDS = 1.0  # after which an answer that is not there yet is still wanted, or not


def mount(app, models: Mapping[Job, serving.Model], folder: str, max_megabytes: float = 200.0):
    """Put the page at the root of a FastAPI application.

    Args:
        app: the application.
        models: what is served.
        folder: where recordings lie while they are looked at.
        max_megabytes: of one of them.
    """
    fonts = [  # none is fetched from anywhere
        "system-ui",
        "-apple-system",
        "Segoe UI",
        "Roboto",
        "sans-serif",
    ]
    theme = gr.themes.Soft(
        primary_hue="blue", radius_size="lg", font=fonts, font_mono=["ui-monospace", "monospace"]
    ).set(  # contrast of at least 4.5
        checkbox_border_color="*neutral_500",
        body_text_color_subdued="*neutral_600",
        body_text_color_subdued_dark="*neutral_300",
        block_label_text_color="*primary_800",
        block_label_text_color_dark="*primary_200",
        block_label_background_fill_dark="*primary_950",
        block_title_background_fill_dark="*primary_950",
        block_title_text_color="*primary_800",
        block_title_text_color_dark="*primary_200",
        input_placeholder_color="*neutral_500",
        input_placeholder_color_dark="*neutral_400",
        block_border_width="1px",  # else white on white
        block_border_color="*neutral_200",
        input_border_width="1px",
        input_border_color="*neutral_200",
        button_secondary_background_fill="*neutral_100",
        button_primary_background_fill="*primary_700",
        button_primary_background_fill_dark="*primary_700",
        button_primary_background_fill_hover="*primary_800",
        button_primary_background_fill_hover_dark="*primary_800",
    )

    async def put():
        blocks = build(models, folder)
        gr.mount_gradio_app(
            app,
            blocks,
            path="/",
            theme=theme,
            css=html.STYLE + results.STYLE + _STYLE,
            head=_HEAD,
            allowed_paths=[str(EXAMPLES), folder],
            footer_links=[],
            run_history=False,
            ssr_mode=False,
            max_file_size=round(1e6 * max_megabytes),
        )
        # Only then does Gradio refuse an event that names a file of this machine in place of an
        # upload.
        blocks.has_launched = True

    # Where no event loop runs, Gradio opens one for each of its locks and closes none.
    asyncio.run(put())


def build(models: Mapping[Job, serving.Model], folder: str) -> gr.Blocks:
    """The page's parts and what they do: a tab for each job; recordings are made in the folder."""
    with gr.Blocks(title="lin_jax", delete_cache=(60, KEPT_SECONDS)) as blocks:
        gr.HTML(_HEADER)
        with gr.Tabs():
            for job, model in models.items():
                if job.tab is None:
                    continue
                with gr.Tab(job.title):
                    job.tab(model, folder)
                    if model.card:
                        with gr.Accordion("About this model", open=False):
                            gr.Markdown(_METADATA.sub("", model.card))
        addresses = ", ".join(serving.addresses(models))
        gr.HTML(_FOOTER.format(version=lin_jax.__version__, addresses=addresses))
    return blocks


def question_tab(
    labels: Sequence[str],
    hint: str,
    answer: Callable[..., Awaitable[str]],
    examples: Mapping[str, Sequence[str]],
    notice: str = "",
):
    """A tab of recorders on the left and an answer on the right; the recorders.

    Args:
        labels: of the recorders.
        hint: what to do, before there is an answer.
        answer: HTML of the paths of the recordings, each None where there is none.
        examples: that can be clicked, names of files in `EXAMPLES` for each recorder, by what they
            are called.
        notice: what the answer must not be used for.
    """

    async def show(*paths):
        try:
            return await answer(*paths)
        except LinError as error:
            return results.problem(error)

    with gr.Row(equal_height=False):
        with inputs():
            recorders = [recorder(label) for label in labels]
            offer(recorders, examples)
            if notice:
                gr.HTML(results.note(notice))
        with gr.Column(scale=3, min_width=360):
            shown = gr.HTML(hint)
    _on([recorder.change for recorder in recorders], show, recorders, shown)
    return recorders


def inputs():
    """The left column, where recordings are given."""
    return gr.Column(scale=2, min_width=320)


def recorder(label: str) -> gr.Audio:
    """Where a recording is dropped or made."""
    return gr.Audio(sources=["upload", "microphone"], type="filepath", label=label, buttons=[])


def offer(inputs: Sequence, examples: Mapping[str, Sequence[str]]):
    """Buttons that fill in examples.

    Args:
        inputs: what is filled in.
        examples: a text or the name of a file in `EXAMPLES` for each of these, by what stands on
            the button.
    """
    with gr.Row(elem_classes="examples"):
        gr.HTML('<span class="note">Try</span>')
        for name, values in examples.items():
            values = [str(EXAMPLES / text) if text.endswith(".mp3") else text for text in values]
            fill = functools.partial(_unpacked, values)
            button = gr.Button(name, size="sm")
            button.click(fill, None, list(inputs), api_visibility="private")


def _unpacked(values: Sequence[str]):
    """One value as it is, as Gradio wants it, and several in a list."""
    return values[0] if len(values) == 1 else list(values)


def output(label: str, hint: str) -> list:
    """The right column, where a recording is shown that was made.

    What there is to say, the file itself, and a player unless the label is "".
    """
    with gr.Column(scale=3, min_width=360):
        players = [gr.Audio(interactive=False, label=label, buttons=[], visible=False)]
        # The player may have been given another encoding.
        download = gr.DownloadButton("Download", visible=False)
        shown = gr.HTML(hint)
    return [shown, *(players if label else []), download]


def switch(sounds: Mapping[str, str]) -> str:
    """One player of several recordings of the same length, which goes on where it is when switched.

    Args:
        sounds: paths of recordings in the page's folder, by what they are called; the last one
            plays first.
    """
    players, buttons, shown = [], [], list(sounds)[-1]
    for name, path in sounds.items():
        address = escape(f"gradio_api/file={urllib.parse.quote(path)}")
        hidden = "" if name == shown else " hidden"
        players.append(
            f'<audio controls preload="auto" aria-label="{escape(name)}" src="{address}"{hidden}>'
            "</audio>"
        )
        pressed = "true" if name == shown else "false"
        buttons.append(f'<button type="button" aria-pressed="{pressed}">{escape(name)}</button>')
    choice = f'<div role="group" aria-label="What is played">{"".join(buttons)}</div>'
    return f'<div class="switch">{choice}{"".join(players)}</div>'


def batch(
    folder: str, row: Callable[..., Awaitable[Mapping]], recorders: Sequence = (), label: str = ""
):
    """Where several recordings are given, and become a table that can be downloaded as CSV.

    Args:
        folder: where the table is made.
        row: of the path of a recording, and of those of the recorders, its cells by column.
        recorders: whose recordings it takes, too.
        label: of what opens it; "" is the usual one.
    """
    with gr.Accordion(label or "Several recordings at once, as a table", open=False):
        given = gr.File(
            file_count="multiple",
            file_types=["audio", "video"],
            label="Recordings",
            elem_classes="recordings",
        )
        table = gr.HTML()
        download = gr.DownloadButton("Download the table as CSV", visible=False)

    async def show(paths, *others):
        if not paths:
            return "", gr.update(visible=False)
        rows = []
        for path in paths:
            cells = {"file": os.path.basename(path)}
            try:
                with serving.named(names(path, *others)):
                    rows.append(cells | dict(await row(path, *others)))
            except LinError as error:
                rows.append(cells | {"problem": str(error)})
        columns = list(dict.fromkeys(column for cells in rows for column in cells))
        path = place(folder, "answers.csv")
        with open(path, "w", newline="", encoding="utf-8-sig") as file:  # Excel wants the mark
            writer = csv.DictWriter(file, columns)
            writer.writeheader()
            writer.writerows({key: _plain(value) for key, value in cells.items()} for cells in rows)
        shown = html.table(
            columns, ([cells.get(column, "") for column in columns] for cells in rows)
        )
        return shown, gr.update(value=path, visible=True)

    _on([given.change], show, [given, *recorders], [table, download])


def _plain(value):
    """A cell that no spreadsheet takes for a formula."""
    return (
        f"'{value}" if isinstance(value, str) and value.startswith(("=", "+", "-", "@")) else value
    )


async def waveforms(*paths: str) -> str:
    """Pictures of the beginnings of recordings, side by side."""

    def draw(path: str) -> str:
        samples, rate = files.read(path, duration=SPECTROGRAM_SECONDS)
        return html.picture(plots.plot_waveform(samples, rate), os.path.basename(path))

    pictures = [await asyncio.to_thread(draw, path) for path in paths]
    return f'<div class="pair">{"".join(pictures)}</div>'


def on(events: Sequence, make: Callable[..., Awaitable], given: Sequence, output: list):
    """Show on events in an `output` what is made of what is given: HTML, and the path of a recording or None."""

    async def show(*values):
        try:
            shown, path = await make(*values)
        except LinError as error:
            shown, path = results.problem(error), None
        # Gradio takes the updates apart, so each part has its own.
        return shown, *(gr.update(value=path, visible=path is not None) for _ in output[1:])

    _on(events, show, given, output)


def _on(events: Sequence, answer: Callable[..., Awaitable], given: Sequence, output):
    """Show what is answered; it is cancelled when whoever asked has left the page."""

    async def show(*values) -> AsyncIterator:
        task = asyncio.ensure_future(answer(*values))
        try:
            # Gradio only closes what yields now and then.
            while not (await asyncio.wait([task], timeout=POLL_SECONDS))[0]:
                yield gr.skip()
            yield task.result()
        finally:
            task.cancel()

    # How many wait, and for how long, is up to the queues of the models.
    gr.on(events, show, given, output, concurrency_limit=None, api_visibility="private")


def place(folder: str, name: str) -> str:
    """A path for a recording that is made, in a folder of its own, from which Gradio takes it after a while."""
    return os.path.join(tempfile.mkdtemp(dir=folder), name)


def progress(text: str, steps: int) -> Callable[[int], None]:
    """What shows beside a text how many steps are finished, called with how many more are.

    It is made in an event, and may be called in any thread.
    """
    context, bar, done = contextvars.copy_context(), gr.Progress(), 0

    def update(more: int):
        nonlocal done
        done += more
        context.run(bar, (done, steps), text)

    return update


async def spectrogram(path: str, caption: str) -> str:
    """A picture of the beginning of a recording."""

    def draw() -> str:
        samples, rate = files.read(path, duration=SPECTROGRAM_SECONDS)
        return html.picture(plots.plot_spectrogram(samples, rate), caption)

    return await asyncio.to_thread(draw)


def names(*paths: str | None) -> dict[str, str]:
    """The name of each file that is given."""
    return {path: os.path.basename(path) for path in paths if path}


_METADATA = re.compile(r"\A---\n.*?\n---\n", re.DOTALL)  # YAML before a model card, for programs
_HEADER = """<div class="banner"><h1>What is in a voice</h1>
<p>Everything is worked out on the machine that serves this page: nothing leaves it.</p></div>"""
_FOOTER = (
    '<div class="foot">lin_jax {version} · answers are estimates: do not decide anything about anyone by them · '
    "other programs: POST {addresses}</div>"
)
# Gradio gives some buttons names without what stands on them, which people who speak to their
# computer would not know.
_HEAD = """<script>
new MutationObserver(() => {
  for (const button of document.querySelectorAll("button.upload-container, button.playback")) {
    const label = button.ariaLabel, text = button.innerText.trim().replace(/\\s+/g, " ")
    if (label && text && !label.startsWith(text)) button.ariaLabel = `${text}: ${label}`
  }
}).observe(document, {childList: true, subtree: true, characterData: true})
// A player of several recordings goes on at the same place when it is switched.
document.addEventListener("click", event => {
  const pressed = event.target.closest(".switch button")
  if (!pressed) return
  const box = pressed.closest(".switch")
  const players = [...box.querySelectorAll("audio")], buttons = [...box.querySelectorAll("button")]
  const before = players.find(player => !player.hidden), after = players[buttons.indexOf(pressed)]
  if (after === before) return
  const playing = !before.paused
  before.pause()
  after.currentTime = before.currentTime
  after.volume = before.volume
  if (playing) after.play()
  players.forEach(player => player.hidden = player !== after)
  buttons.forEach(button => button.ariaPressed = button === pressed)
})
</script>"""
_STYLE = """
.dark{--ink:#e6e9f5;--muted:#98a2b3;--rule:#344054;--paper:#1d2433;--ground:#2a3347;color-scheme:dark}
.dark .problem{background:#3a1d22;color:#fecdca}
.gradio-container{max-width:min(1080px,100vw)!important;margin:0 auto!important}
/* What is wide, such as a table, scrolls by itself, and does not widen the page on a phone. */
.gradio-container :is(.main,.wrap,.contain,.tabs){min-width:0}
.banner{background:linear-gradient(120deg,#14246b,#2f5bea 65%,#4f8df5);border-radius:16px;padding:36px 40px 30px}
.banner h1{margin:0;font-size:34px;line-height:1.2;letter-spacing:-.02em;color:#fff}
.banner p{margin:8px 0 0;font-size:17px;color:#dde6ff}
figure{background:var(--paper);border:1px solid var(--rule);border-radius:12px;padding:12px}
.html-container{padding:0!important}
.timestamps time,.playback,.playback span{color:var(--muted)!important}
.tab-wrapper{height:auto!important;padding:0 0 12px!important}
.tab-wrapper::after,.tab-container::after,.overflow-menu{display:none!important}
.tab-container[role=tablist]{display:flex;flex-wrap:wrap;gap:8px;height:auto!important;overflow:visible!important}
.tab-container[role=tablist] button{border-radius:99px!important;padding:8px 16px!important;height:auto!important;
  background:var(--ground)!important;color:var(--ink)!important;border:1px solid var(--rule)!important}
.tab-container[role=tablist] button.selected{background:#1d4ed8!important;color:#fff!important;
  border-color:#1d4ed8!important}
.tab-container[role=tablist] button::after{display:none!important}
.tab-container.visually-hidden button{padding:0!important;font-size:0!important}
.switch{margin:0 0 18px}
.switch audio{width:100%}
.switch audio[hidden]{display:none}
.switch>div{display:inline-flex;border:1px solid var(--rule);border-radius:99px;overflow:hidden;margin-bottom:10px}
.switch button{margin:0!important;border:0;border-radius:0;box-shadow:none;padding:8px 20px;
  background:var(--ground);color:var(--ink);font-size:15px;cursor:pointer}
.switch button[aria-pressed=true]{background:#1d4ed8;color:#fff}
/* Gradio puts a button within this button, which the keyboard cannot reach. */
.recordings button[aria-label="common.upload"]{display:none!important}
.recordings a{color:var(--ink)!important}
input[type=range]{--thumb:1px solid #667085}
input[type=range]::-webkit-slider-thumb{border:var(--thumb)!important}
input[type=range]::-moz-range-thumb{border:var(--thumb)!important}
.pair{display:grid;grid-template-columns:repeat(auto-fit,minmax(220px,1fr));gap:12px}
.examples{align-items:center;gap:8px!important}
.examples>*{flex:0 0 auto!important;min-width:0!important;width:auto!important}
@media(max-width:640px){.banner{padding:20px!important}.banner h1{font-size:26px!important}
  .banner p{font-size:15px!important}
  .answer strong{font-size:26px}.hint{padding:28px 16px}.gradio-container main{padding:12px!important}
  .prose :is(td,th){padding:5px!important;font-size:14px}}
/* Model cards are no wider than a phone. */
.prose :is(td,code,a){overflow-wrap:anywhere}
.prose :is(pre,pre code){white-space:pre-wrap!important}
body:not(.dark) .prose .token.string{color:#3f6212}
.foot{color:var(--muted);font-size:13px;text-align:center;padding:8px}
"""
