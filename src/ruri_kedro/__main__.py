"""`ruri-kedro ...`, also `python -m ruri_kedro ...`: the commands of `kedro ruri`, with or without a project."""

import os
import sys
from pathlib import Path


def main() -> None:
    """Run a command in the project of the working directory, if there is one."""
    from ruri_kedro.startup import without_collector

    with without_collector():
        from kedro.utils import find_kedro_project

        from ruri_kedro.cli.project import shipped

        project = find_kedro_project(Path.cwd())
        # Kedro looks for it below the working directory only, and reads it once, when it is imported.
        found = (root / "conf/logging.yml" for root in (project, shipped()) if root)
        logging = next((file for file in found if file.is_file()), None)
        if logging:
            os.environ.setdefault("KEDRO_LOGGING_CONFIG", str(logging))

        from kedro.framework.project import configure_project
        from kedro.framework.startup import bootstrap_project

        if project:
            bootstrap_project(project)
        else:
            configure_project("ruri_kedro")
        from ruri_kedro.cli.commands import ruri
    ruri.main(sys.argv[1:], prog_name="ruri-kedro")


if __name__ == "__main__":
    main()
