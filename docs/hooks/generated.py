"""Pages that the build makes: every parameter, the import diagram, and what stands elsewhere in the repository."""

import sys
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

sys.path.insert(0, str(Path(__file__).parent))

import imports
import parameters


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the generated files; the build then checks links into them as into any other."""
    root = Path(config.config_file_path).parent
    generated = {
        "parameters.md": parameters.page(root / "conf"),
        "images/imports.svg": imports.diagram(root / "pyproject.toml"),
        "figures.md": (root / "benchmarks/README.md").read_text("utf-8"),
        "changes.md": (root / "CHANGELOG.md").read_text("utf-8"),
    }
    for path, content in generated.items():
        files.append(File.generated(config, path, content=content))
    return files
