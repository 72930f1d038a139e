"""The model card of a bundle, written from its bundle.json alone, so that it cannot say what another training did.

A card is Markdown under a YAML header that Hugging Face reads. All it says of a training is in the
object `provenance` of bundle.json:

summary     what it does, in a sentence
details     the network and what comes before and after it, in words
corpora     list of {name, licence, speakers, clips, hours}, None or left out where unknown, and
            `evaluation_subsets`, those that figures are quoted on elsewhere, if any was trained on
parents     of fine-tuning: list of {name, weights_sha256, provenance}, each with its own parents
command     what trained it; and `seed`, if there is one
stages      list of what the trainings were, if there were several in a row
protocol    how it was evaluated
reference   what stands before the arrow in a metric, if anything does
metrics     {data: {metric: number or {value, low, high, reference}}}, intervals of 95 %
limits      list of sentences, beside those of its kind
"""

import itertools
import json
from collections.abc import Iterable, Iterator, Mapping

UNSTATED = "not stated"
# The strictest last: a bundle may be used as far as all of its corpora allow.
LICENCES = {
    "public domain": "cc0-1.0",
    "generated": "apache-2.0",
    "free for any use": "other",
    "CC0 1.0": "cc0-1.0",
    "CC BY 3.0": "cc-by-3.0",
    "CC BY 4.0": "cc-by-4.0",
    "CC BY-SA 4.0": "cc-by-sa-4.0",
    UNSTATED: "other",
    "CC BY-NC 4.0": "cc-by-nc-4.0",
    "CC BY-NC-SA 4.0": "cc-by-nc-sa-4.0",
}
PIPELINES = {
    "classification": "audio-classification",
    "verification": "feature-extraction",
    "repair": "audio-to-audio",
    "synthesis": "text-to-speech",
    "vocoding": "audio-to-audio",
}
TAGS = {
    "classification": ["speech", "audio-classification"],
    "verification": ["speech", "speaker-verification", "speaker-identification"],
    "repair": ["speech", "speech-enhancement"],
    "synthesis": ["speech", "text-to-speech", "voice-conversion", "voice-cloning"],
    "vocoding": ["speech", "vocoder"],
}
USES = {
    "classification": 'lin_jax.load("{name}").predict("clip.wav").probabilities',
    "verification": 'lin_jax.load("{name}").verify("a.wav", "b.wav").decision',
    "repair": 'lin_jax.load("{name}").repair_file("noisy.wav", "clean.wav")',
    "synthesis": 'lin_jax.load("{name}").speak("Good morning.", "voice.wav").write("spoken.wav")',
    "conversion": 'lin_jax.load("{name}").convert_voice("me.wav", "voice.wav").write("out.wav")',
    "vocoding": 'lin_jax.load("{name}")  # named by a synthesizer as its vocoder',
}
LIMITS = {
    "classification": "Its classes are those above and no others; recordings of another kind than it "
    "was trained on have not been measured. Do not use it to decide about anyone.",
    "verification": "No proof of identity: twins, imitators, replayed or synthetic voices, illness "
    "and bad channels deceive it. Do not let anyone in, and accuse no one, by it alone.",
    "repair": "It restores and does not invent: what was lost altogether stays lost. It was trained "
    "on one voice at a time and takes music and other voices for speech or for noise.",
    "synthesis": "Clone only voices you may: your own, or those of people who agreed. Every file "
    "that it writes says in its metadata that it is synthetic; leave it there.",
    "vocoding": "It makes no sound of frames of another front end, and was not evaluated on music "
    "or on several voices at once.",
}


def render(described: Mapping) -> str:
    """Write the model card of a bundle.

    Args:
        described: the content of its bundle.json.

    Returns:
        README.md: YAML header, purpose, use, network, data, licence, evaluation and limits. What
        bundle.json does not tell, the card says is not stated.
    """
    return "\n".join([*_header(described), *_body(described)])


def strictest(licences) -> str:
    """The licence under which something made of data under all of these can be shared; `UNSTATED` if one is unknown."""
    order = list(LICENCES)
    known = [licence if licence in LICENCES else UNSTATED for licence in licences]
    return max(known, key=order.index, default=UNSTATED)


def all_corpora(provenance: Mapping) -> list[dict]:
    """The corpora of a training and of what it went on from, each name once."""
    corpora = {corpus["name"]: corpus for corpus in provenance.get("corpora", [])}
    for parent in provenance.get("parents", []):
        for corpus in all_corpora(parent.get("provenance") or {}):
            corpora.setdefault(corpus["name"], corpus)
    return list(corpora.values())


def _learnt_evaluation_subsets(provenance: Mapping) -> list[str]:
    """That figures on them mean nothing, of each subset that this training or a parent had."""
    trainings, subsets = [provenance], set()
    for training in trainings:
        trainings += [parent.get("provenance") or {} for parent in training.get("parents", [])]
        for corpus in training.get("corpora", []):
            names = corpus.get("evaluation_subsets", [])
            subsets |= {f"{corpus['name']} {name}" for name in names}
    return [
        f"It learnt from speakers of {name}: quote no figure on them." for name in sorted(subsets)
    ]


def _licences(provenance: Mapping) -> list[str]:
    """The licence of each corpus and, of a parent of which nothing is known, that it is not stated."""
    licences = [corpus.get("licence") or UNSTATED for corpus in all_corpora(provenance)]
    unknown = any(not parent.get("provenance") for parent in provenance.get("parents", []))
    return licences + [UNSTATED] * unknown


def _header(described: Mapping) -> Iterator[str]:
    provenance, task = described.get("provenance", {}), described["task"]
    licence = strictest(_licences(provenance))
    yield "---"
    yield f"license: {LICENCES[licence]}"
    if LICENCES[licence] == "other":
        yield f"license_name: {json.dumps(licence)}"
    yield "library_name: lin_jax"
    yield f"pipeline_tag: {PIPELINES[task]}"
    yield from _yaml("datasets", map(_slug, all_corpora(provenance)))
    yield from _yaml("base_model", map(_slug, provenance.get("parents", [])))
    yield from _yaml("tags", ["jax", "flax", *TAGS[task]])
    yield "---"


def _slug(described: Mapping) -> str:
    """A name without blanks, as Hugging Face has them."""
    return described["name"].replace(" ", "-")


def _yaml(key: str, values: Iterable[str]) -> Iterator[str]:
    if values := list(values):
        yield f"{key}:"
        yield from (f"- {json.dumps(value, ensure_ascii=False)}" for value in values)


def _body(described: Mapping) -> Iterator[str]:
    provenance, task, name = described.get("provenance", {}), described["task"], described["name"]
    yield f"\n# {name}\n"
    if "summary" in provenance:
        yield provenance["summary"] + "\n"
    use = USES["conversion" if described.get("sources") == ["speech"] else task]
    yield f"```python\nimport lin_jax\n\n{use.format(name=name)}\n```\n"
    yield "`load` takes the name of a bundle that ships with lin_jax, or the path of this folder.\n"

    size = f" of {described['parameters']:,} parameters" if "parameters" in described else ""
    yield f"## What it is\n\n`{described['model']['name']}`{size}, on {_frontend(described)}."
    if described.get("members", 1) > 1:
        yield f"{described['members']} networks that differ in their seed are averaged."
    if len(speeds := described.get("speeds", described.get("tta", {}).get("speeds", []))) > 1:
        yield f"Recordings are heard at {', '.join(f'{speed:g}' for speed in speeds)} times their speed."
    if "labels" in described:
        yield f"Its classes are {', '.join(map(str, described['labels']))}."
    if described.get("speech_gate"):
        yield (
            f"It answers where `{described['speech_gate']}` hears speech, "
            f"{described['min_seconds']:g} s or more of sound, and a class is "
            f"{described['calibration']['unsure_below']:.0%} likely."
        )
    if snr := described.get("min_snr_db"):
        yield f"Below {snr:g} dB of speech over noise, and by telephone, it is unsure."
    if described.get("child_gate"):
        yield f"Where `{described['child_gate']}` hears what may be a child, a note says so."
    yield from filter(None, [provenance.get("details")])

    yield "\n## Training\n"
    corpora = provenance.get("corpora", [])
    if corpora:
        yield "| corpus | licence | speakers | clips | hours |\n| --- | --- | --- | --- | --- |"
        for corpus in corpora:
            cells = [corpus["name"], corpus.get("licence") or UNSTATED]
            cells += [_number(corpus.get(key)) for key in ("speakers", "clips", "hours")]
            yield f"| {' | '.join(cells)} |"
    else:
        yield "The corpora are not stated."
    parents = provenance.get("parents", [])
    if parents:
        yield f"\nFine-tuned from {', '.join(map(_parent, parents))}."
    elif corpora:
        yield "\nTrained from scratch and on nothing else."
    if command := provenance.get("command"):
        seed = f", with seed {provenance['seed']}" if "seed" in provenance else ""
        yield f"By `{command}`{seed}."
    if stages := provenance.get("stages"):
        yield "In stages:\n"
        yield "\n".join(f"{number}. {stage}" for number, stage in enumerate(stages, 1))

    licence = strictest(_licences(provenance))
    yield "\n## Licence\n"
    yield f"The weights are derived from the corpora above; the strictest of their licences: {licence}."
    if "NC" in licence:
        yield "They are not for commercial use, and are shared with attribution."
    yield "The code of lin_jax is Apache-2.0."

    yield "\n## Evaluation\n"
    yield provenance.get("protocol", "It was not evaluated, or the results are not stated.")
    if "reference" in provenance:
        yield f"Before an arrow: {provenance['reference']}."
    if provenance.get("metrics"):
        yield "In brackets, where there are any: 95 % intervals over speakers, or over the clips of a single one."
    for names, rows in itertools.groupby(
        provenance.get("metrics", {}).items(), lambda row: tuple(row[1])
    ):
        yield f"\n| data | {' | '.join(names)} |\n|{' --- |' * (len(names) + 1)}"
        for data, metrics in rows:
            yield f"| {data} | {' | '.join(map(_metric, metrics.values()))} |"

    yield "\n## Limits\n"
    limits = [*provenance.get("limits", []), *_learnt_evaluation_subsets(provenance), LIMITS[task]]
    yield "\n".join(f"- {limit}" for limit in limits)
    yield ""


def _frontend(described: Mapping) -> str:
    frontend = described["frontend"]
    if described["task"] == "repair":  # which has a transform of its own
        return f"spectra at {frontend['sample_rate'] / 1000:g} kHz"
    features = {
        "log_mel": f"log-mel frames of {frontend['n_mels']} bands",
        "mfcc": f"{frontend['n_mfcc']} MFCC",
        "functionals": "functionals of whole clips",
    }
    named = features.get(frontend["feature"], frontend["feature"])
    return f"{named} at {frontend['sample_rate'] / 1000:g} kHz"


def _parent(parent: Mapping) -> str:
    """A parent and, in brackets, what it went on from in its turn."""
    digest = parent.get("weights_sha256", "")[:12]
    provenance = parent.get("provenance") or {}
    lines = [f"weights {digest}"] if digest else []
    if corpora := provenance.get("corpora"):
        lines.append(f"of {', '.join(corpus['name'] for corpus in corpora)}")
    elif not provenance:
        lines.append("of corpora that are not stated")
    if above := provenance.get("parents"):
        lines.append(f"itself fine-tuned from {', '.join(map(_parent, above))}")
    return f"`{parent['name']}` ({'; '.join(lines)})"


def _metric(metric) -> str:
    if not isinstance(metric, Mapping):
        return _number(metric)
    before = f"{_number(metric['reference'])} → " if "reference" in metric else ""
    interval = f" [{_number(metric['low'])}, {_number(metric['high'])}]" if "low" in metric else ""
    return before + _number(metric["value"]) + interval


def _number(value) -> str:
    if value is None or value != value:  # unknown, or not a number
        return "–"
    if isinstance(value, float):
        return f"{round(value, 3):g}"
    return f"{value:,}" if isinstance(value, int) else str(value)
