"""Errors a user can act on: one line that says what is wrong and how to mend it."""


class LinError(Exception):
    """Base of every error that is the fault of the input; the command line prints it without a traceback."""


class AudioError(LinError):
    """A file or array that is not usable audio."""


class CorpusError(LinError):
    """A corpus folder, table or split that is not as described."""


class FeatureError(LinError):
    """A feature set that is missing, broken, or made with another front end."""


class ConfigError(LinError):
    """A configuration whose values cannot work together."""


class CheckpointError(LinError):
    """A checkpoint that is missing, broken, or of another model."""


class TrainingError(LinError):
    """A training run that cannot go on, such as a loss that is not finite."""


class BundleError(LinError):
    """A model bundle that is missing, broken, or made for another front end."""
