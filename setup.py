"""What pyproject.toml cannot say: the files at the root that `ruri-kedro new` copies go into the wheel from there."""

import shutil
from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py

ROOT = Path(__file__).parent


class BuildWithProjectFiles(build_py):
    """Adds conf/ and others to the package; an editable install reads them in the clone."""

    def run(self) -> None:
        super().run()
        if not self.editable_mode:
            for source, target in self.project_files():
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(source, target)

    def get_outputs(self, include_bytecode: bool = True) -> list[str]:
        return [*super().get_outputs(include_bytecode), *(str(target) for _, target in self.project_files())]

    def project_files(self) -> list[tuple[Path, Path]]:
        """Each file and its place in the package; nothing of conf/local, where credentials may stand."""
        found = [file for file in (ROOT / "conf").rglob("*.yml") if file.parent.name != "local"]
        files = [*sorted(found), ROOT / "dvc.yaml", ROOT / ".gitignore"]
        inside = Path(self.build_lib, "ruri_kedro", "project_files")
        return [(file, inside / file.relative_to(ROOT)) for file in files]


setup(cmdclass={"build_py": BuildWithProjectFiles})
