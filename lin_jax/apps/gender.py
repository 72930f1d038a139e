"""Gender recognition: `lin gender`."""

from lin_jax.apps.classify import classification_job

JOB = classification_job(
    name="gender",
    summary="say whether a voice is female or male, or that nobody speaks",
    teach="""\
examples:
  lin gender clip.wav                      one line: female, male, no speech or unsure, and how likely each is
  lin gender recordings/                   every recording in a folder and below it
  lin gender --timeline meeting.mp3        who speaks when; a recording may last hours
  lin gender --json *.wav | jq .gender     one JSON object a line: file, gender, probability, seconds, probabilities,
                                           note

Noise and silence are "no speech"; where neither answer is likely enough it says "unsure". How likely each is stands
beside whatever it says: probabilities.female is how feminine a voice sounds, from 0 to 1.
It goes by how a voice sounds, not by who somebody is; the voices of boys and girls sound alike, so that a note says
where it may be a child, in seven of ten recordings of children. Do not sort people by it (docs/responsible-use.md).
A recording that cannot be used is named on stderr and the rest goes on.
Exit code: 0 all done, 1 some could not be used, 2 none could.""",
    question="Is it a woman's voice, a man's, or none at all?",
    notice="It goes by how a voice sounds, not by who somebody is. Do not sort, admit or refuse people by it.",
)
