"""The part of OpenAI's HTTP API that makes speech, so that its clients work unchanged."""

from typing import Annotated, Literal

from fastapi.responses import FileResponse
from pydantic import BaseModel, Field

from lin_jax.apps import api, serving

PCM_RATE = 24_000  # Hz, of response_format "pcm", which has no header to say so
# OpenAI's voices, for programs that know no others: each is one of the learnt ones.
VOICES = (
    *("alloy", "ash", "ballad", "cedar", "coral", "echo", "fable"),
    *("marin", "nova", "onyx", "sage", "shimmer", "verse"),
)


class SpeechRequest(BaseModel):
    """What is said, by the name that OpenAI gives it; instructions and the like are left out."""

    model: Annotated[str, Field(examples=["synthesis"])]
    input: Annotated[str, Field(examples=["Good morning."])]
    voice: Annotated[str, Field(examples=["alloy"])]
    response_format: Literal["mp3", "opus", "flac", "wav", "pcm"] = "mp3"
    speed: float = 1.0


class OpenAIError(BaseModel):
    """A problem as clients read it."""

    message: str
    type: Literal["invalid_request_error"]


class OpenAIProblem(BaseModel):
    """What is answered in place of a result."""

    error: OpenAIError


class OpenAIVoice(BaseModel):
    """A voice as clients list it."""

    id: str
    name: str


class OpenAIVoices(BaseModel):
    """The voices that speech can have."""

    voices: list[OpenAIVoice]


RESPONSES: dict = {
    200: {"content": api.RECORDING[200]["content"] | {"audio/pcm": api.BINARY}},
    422: {"model": OpenAIProblem},
}


def add_routes(router, bundle, say, stream):
    """Add /audio/speech and /audio/voices.

    Args:
        router: of the API.
        bundle: the `Synthesizer`, whose voices are taken. Whatever the model is called, it speaks.
        say: answers with a recording, of a folder, a text, voices, the speed and the format.
        stream: answers with sound as it is made, of a text, voices, the speed and the rate in Hz.
    """

    @router.post(
        f"{api.OPENAI}speech", name="speech", response_class=FileResponse, responses=RESPONSES
    )
    async def speech(request: SpeechRequest, uploads: api.Uploads):
        """A text as speech, as OpenAI's clients ask for it; pcm is sent as it is made."""
        voice = choose(request.voice, bundle)
        if request.response_format == "pcm":
            return await stream(request.input, [voice], request.speed, PCM_RATE)
        return await say(uploads, request.input, [voice], request.speed, request.response_format)

    @router.get(f"{api.OPENAI}voices")
    def list_voices() -> OpenAIVoices:
        """The voices that speech can have by name, as clients of OpenAI's API list them."""
        names = [name for name, *_ in serving.voices(bundle)]
        return OpenAIVoices(voices=[OpenAIVoice(id=name, name=name) for name in names])


def choose(voice: str, bundle) -> str:
    """The voice of that name, or one that a `Synthesizer` has learnt in place of one of OpenAI's.

    Raises:
        AudioError: it is neither.
    """
    if voice in VOICES and voice not in bundle.names:
        return bundle.names[VOICES.index(voice) % len(bundle.names)]
    serving.check_voice(voice, bundle)
    return voice
