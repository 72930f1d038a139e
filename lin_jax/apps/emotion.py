"""Speech emotion recognition: `lin emotion`."""

from lin_jax.apps.classify import classification_job

JOB = classification_job(
    name="emotion",
    summary="say which emotion a voice carries",
    teach="""\
examples:
  lin emotion clip.wav                     one line: the emotion, how sure it is, what comes next
  lin emotion recordings/                  every recording in a folder and below it
  lin emotion --timeline interview.mp3     which emotion when; a recording may last hours
  lin emotion --json *.wav | jq .emotion   one JSON object a line: file, emotion, probability, seconds, probabilities,
                                           note

WAV, FLAC, MP3, M4A, WebM and whatever else FFmpeg decodes are read, at any rate and with any number of channels.
Where nobody speaks it says "no speech", under a second "too short", and "unsure" where no emotion is likely enough, or
the recording is noisy or by telephone; how likely each would be stands beside it.
It learnt from acted studio speech. In the EU it is forbidden at work and in education (docs/responsible-use.md).
A recording that cannot be used is named on stderr and the rest goes on.
Exit code: 0 all done, 1 some could not be used, 2 none could.""",
    question="Which emotion does the voice carry?",
    notice="It learnt from acted studio speech: what people act is not what they feel. In the EU it is forbidden "
    "at work and in education; decide nothing about a person by it.",
)
