"""What `kedro ruri pin` says: a table of repositories, a line for each problem and for each file that is not there."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from ruri_kedro.cli.written_recipe import WrittenRecipe
from ruri_kedro.corpora.hub_facts import Pin, RepositoryFacts
from ruri_kedro.errors import DataError

_HEADER = ("on the hub", "revision", "fields", "rows", "bytes", "licence", "gated", "named by")
_WEIGHTS = ("*.safetensors", "*.json", "*.txt", "*.model")  # of a model's files those that are loaded
_NO_WEIGHTS = (
    "no weights as safetensors at this commit, and others are not read. Look for the pull request 'Adding safetensors "
    "variant of this model', and name it: ref: refs/pr/<number>."
)


@dataclass(frozen=True)
class Report:
    """The text, and how many problems it tells."""

    text: str
    problems: int

    @staticmethod
    def of(
        recipe: WrittenRecipe, facts: Mapping[Pin, RepositoryFacts | str], unreadable: Mapping[str, str]
    ) -> "Report":
        """Of the facts of all repositories, or why there are none; `unreadable` says why of sources and tasks."""
        from ruri_kedro.benchmark.comparing.text import aligned

        rows = [_row(recipe, pin, facts[pin], unreadable) for pin in recipe.pins]
        table = aligned([_HEADER, *rows], left=len(_HEADER)) if rows else "The recipe names nothing on the hub.\n"
        problems = [f"{pin[0]}: {why}" for pin, found in facts.items() for why in _refusals(pin, found)]
        problems += [f"{name}: {why}" for name, why in unreadable.items()]
        return Report(table + "".join(f"{line}\n" for line in [*problems, *_absent(recipe)]), len(problems))


def _row(
    recipe: WrittenRecipe, pin: Pin, facts: RepositoryFacts | str, unreadable: Mapping[str, str]
) -> tuple[str, ...]:
    repository, own = pin
    users = recipe.pins[pin]
    if isinstance(facts, str):
        return str(repository), (own or "-")[:12], "-", "-", "-", "-", "-", " ".join(users)
    if repository.kind == "model":
        fields, rows, size = "-", None, facts.size(_WEIGHTS)
    else:
        uses = recipe.uses(repository)
        fields = "fault" if any(user in unreadable for user in users) else "ok"
        rows = _rows(facts, {(use.configuration, use.splits) for use in uses if not use.paths})
        # A use by splits may read any file.
        size = facts.size([path for use in uses for path in use.paths] if all(use.paths for use in uses) else ())
    shown = "-" if rows is None else f"{rows:,}"
    gated = "yes" if facts.gated else "no"
    return str(repository), facts.commit[:12], fields, shown, f"{size:,}", facts.licence or "-", gated, " ".join(users)


def _rows(facts: RepositoryFacts, parts: set[tuple[str | None, tuple[str, ...]]]) -> int | None:
    """Rows of splits of configurations; None where the card does not say."""
    counts = [facts.rows(*part) for part in parts]
    return None if None in counts or not counts else sum(counts)


def _refusals(pin: Pin, facts: RepositoryFacts | str) -> Iterator[str]:
    if isinstance(facts, str):
        yield facts
    elif pin[0].kind == "model" and not any(path.endswith(".safetensors") for path, _ in facts.files):
        yield _NO_WEIGHTS


def _absent(recipe: WrittenRecipe) -> Iterator[str]:
    """A line for each path outside of the hub that is not there, with the command that fetches it."""
    from ruri_kedro.corpora.fetch.fetch import command_for
    from ruri_kedro.tables.raw import raw_files

    for path, names in recipe.files.items():
        try:
            raw_files(recipe.raw, path)
        except DataError:
            command = command_for(path, recipe.raw)
            remedy = f"Run: {command}" if command else "No command fetches it: put it there by hand."
            yield f"{recipe.raw / path} is not there ({', '.join(names)}). {remedy}"
