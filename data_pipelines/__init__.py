"""Everything from a folder of audio to a batch."""
