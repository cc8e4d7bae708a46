"""MLflow's own `models:/...`, with every file checked against the manifest of the version.

MLflow finds the class by the entry point `mlflow.artifact_repository` of this package, its way to give a scheme to a
plug-in, and by no import: loaders of every flavour, `mlflow models serve` and `mlflow.artifacts` then use it. A version
without a manifest, such as one that another project registered, is loaded as ever.
"""

import tempfile
from pathlib import Path
from typing import Any

from mlflow.store.artifact.models_artifact_repo import ModelsArtifactRepository


class CheckedModels(ModelsArtifactRepository):
    """The files of a registered version."""

    def download_artifacts(self, artifact_path: str, dst_path: str | None = None, *args: Any, **kwargs: Any) -> str:
        """As MLflow's; RegistryError where a file is not as it was registered, or was not there then."""
        found = super().download_artifacts(artifact_path, dst_path, *args, **kwargs)
        # Without a name it is a logged model, which no version has vouched for.
        if self.model_name is not None:
            self._check(Path(found), artifact_path.strip("/"))
        return found

    def _check(self, found: Path, part: str) -> None:
        """Check what was downloaded, which is `part` of the version's files, or all of them if it is empty."""
        from ruri_kedro.registry.evidence import MANIFEST, check_manifest
        from ruri_kedro.registry.versions import SIGNED, refuse, version_of

        expected = version_of(self.model_name, int(self.model_version)).tags.get(SIGNED)
        if expected is None:
            return
        if not part:
            refuse(self.model_name, self.model_version, check_manifest(found, expected))
            return
        root = found.parents[len(Path(part).parts) - 1]
        below = f"{part}/" if found.is_dir() else part
        with tempfile.TemporaryDirectory() as folder:
            manifest = Path(self.repo.download_artifacts(MANIFEST, folder))
            refuse(self.model_name, self.model_version, check_manifest(root, expected, below, manifest))
