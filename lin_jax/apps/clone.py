"""The command that trains one voice: `lin clone`, which hands over to the experiments."""

from lin_jax.apps.train import experiment_command

COMMAND = experiment_command(
    name="clone",
    module="experiments.clone",
    metavar="NAME CLIPS --i-may-use-this-voice",
    summary="train a voice on a minute or more of recordings with their texts",
    teach="""\
examples:
  lin clone anna anna/ --i-may-use-this-voice                      a.wav and a.txt side by side, or anna/table.csv
  lin clone anna anna/ --text texts.csv --i-may-use-this-voice     with the columns path and text
  lin clone anna anna/ --out voices/anna --steps 600 --i-may-use-this-voice

It prepares and aligns the recordings, goes on training the synthesizer that ships on them, measures it before and
after on sentences that it did not learn, writes a bundle with its card, and prints the command that uses it.
A voice that is kept at once, from a few seconds and without texts: lin voice save.
Exit code: 0 it is trained, 2 something could not be used.""",
)
