"""Settings of the whole test run."""

from hypothesis import settings

# A deadline would fail tests on a machine that is busy with something else.
settings.register_profile("no deadline", deadline=None)
settings.load_profile("no deadline")
