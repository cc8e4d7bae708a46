"""MLflow's own `models:/...`, with every file checked against the manifest of the version and for code of others.

MLflow finds the class by the entry point `mlflow.artifact_repository` of this package, its way to give a scheme to a
plug-in, and by no import: loaders of every flavour, `mlflow models serve` and `mlflow.artifacts` then use it. Those
loaders run what they find beside a model, so nothing is handed to them that this package does not write. A version that
another project registered is loaded as ever.
"""

import tempfile
from pathlib import Path
from typing import Any

from mlflow.store.artifact import artifact_repository_registry
from mlflow.store.artifact.models_artifact_repo import ModelsArtifactRepository


class CheckedModels(ModelsArtifactRepository):
    """The files of a registered version."""

    def download_artifacts(self, artifact_path: str, dst_path: str | None = None, *args: Any, **kwargs: Any) -> str:
        """As MLflow's; RegistryError where a file is not as it was registered, or is not of this package."""
        # Without a name it is a logged model, which no version has vouched for.
        if self.model_name is None:
            return super().download_artifacts(artifact_path, dst_path, *args, **kwargs)
        from ruri_kedro.registry.versions.registered import is_ours, local_faults, refuse, version_of

        version = version_of(self.model_name, int(self.model_version))
        if is_ours(version):
            refuse(version.name, version.version, local_faults(self.repo))
        found = super().download_artifacts(artifact_path, dst_path, *args, **kwargs)
        self._check(version, Path(found), artifact_path.strip("/"))
        return found

    def _check(self, version: Any, found: Path, part: str) -> None:
        """Check what was downloaded, which is `part` of the version's files, or all of them if it is empty."""
        from ruri_kedro.registry.evidence.evidence import MANIFEST
        from ruri_kedro.registry.versions.registered import SIGNED, refuse, version_faults

        root = found.parents[len(Path(part).parts) - 1] if part else found
        with tempfile.TemporaryDirectory() as folder:
            apart = part and SIGNED in version.tags  # then the manifest is not among what was downloaded
            manifest = Path(self.repo.download_artifacts(MANIFEST, folder)) if apart else None
            refuse(version.name, version.version, version_faults(version, root, part, manifest))


# Whoever imports this module before MLflow has MLflow look for the class while it is not there yet. In the usual order
# it is MLflow's module that is not whole yet, and MLflow then enters the class itself.
if entered := getattr(artifact_repository_registry, "get_registered_artifact_repositories", None):
    entered()["models"] = CheckedModels
