"""From a text to the symbols that a synthesizer reads: any alphabet, as characters or phonemes."""

from lin_jax.text.normalisation import normalise
from lin_jax.text.sentences import Sentence, sentences
from lin_jax.text.symbols import END, PAD, SymbolTable

__all__ = ["END", "PAD", "Sentence", "SymbolTable", "normalise", "sentences"]
