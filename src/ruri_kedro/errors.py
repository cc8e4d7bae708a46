"""The errors a user is expected to see. Each message names the place and the remedy."""


class RuriError(Exception):
    """Base of every error this package raises on purpose."""


class DataError(RuriError, ValueError):
    """Input data are not what their description says: names file, row and field."""


class RecipeError(RuriError, ValueError):
    """A parameter of the recipe is missing, unknown or contradicts another one."""


class TrainingError(RuriError, RuntimeError):
    """Training cannot start, continue or be trusted."""


class RegistryError(RuriError, RuntimeError):
    """The tracking server or the model registry cannot be used as asked."""


class SynthesisError(RuriError, RuntimeError):
    """A language model cannot be asked, or answers too seldom."""


class PublicationError(RuriError, RuntimeError):
    """A model or data set may not be published, or cannot be uploaded."""
