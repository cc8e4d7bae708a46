"""An error of this package that ends a run."""

import logging
from typing import NoReturn

import click

from ruri_kedro.errors import RuriError

logger = logging.getLogger(__name__)


def fail(error: RuriError) -> NoReturn:
    """Raise `error`; on the command line as its message only, the traceback at level DEBUG."""
    if click.get_current_context(silent=True) is None:
        raise error
    logger.debug("The run was refused or failed.", exc_info=error)
    raise click.ClickException(str(error)) from error
