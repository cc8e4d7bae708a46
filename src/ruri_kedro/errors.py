"""The errors a user is expected to see. Each message names the place and the remedy."""


class RuriError(Exception):
    """Base of every error this package raises on purpose."""


class DataError(RuriError, ValueError):
    """Input data are not what their description says: names file, row and field."""


class DamagedError(DataError):
    """A stored file is not what was written, or is not there: `fault` says which, `remedy` what to do."""

    def __init__(self, fault: str, remedy: str) -> None:
        super().__init__(fault, remedy)
        self.fault = fault
        self.remedy = remedy

    def __str__(self) -> str:
        return f"{self.fault}. {self.remedy}"


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


def require_whole(place: str, value: object, least: int) -> None:
    """Raise RecipeError, which names the parameter, unless the value is a whole number and `least` or more."""
    if not isinstance(value, int) or isinstance(value, bool) or value < least:
        raise RecipeError(f"{place}={value}: a whole number, {least} or more.")
