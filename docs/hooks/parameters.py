"""The page of every parameter, from conf/base, its comments, and what the other recipes change."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import yaml

LONGEST = 70  # characters of a value that are shown

HEAD = """# Every parameter

Made from `conf/base`, its comments, and what the other recipes change; a dot in a name is a level in the file. A recipe
changes a parameter in `conf/<recipe>/parameters.yml`, a single run on the command line:

```
kedro run --params pretraining.epochs=1,seed=7
```

`--params` takes no lists or blocks. A value `${...}` is taken from elsewhere in the configuration.
"""


@dataclass(frozen=True)
class Parameter:
    """A key of a parameter file: its dotted path, its value as written (None: a block), and its comment."""

    path: str
    value: str | None
    note: str


def page(conf: Path) -> str:
    """Markdown of the whole page: a chapter per file of conf/base, a table per block."""
    others = {
        folder.name: {p.path: p.value for file in sorted(folder.glob("parameters*.yml")) for p in read(file)}
        for folder in sorted(conf.iterdir())
        if folder.name not in ("base", "local") and any(folder.glob("parameters*.yml"))
    }
    parts = [HEAD]
    for file in sorted(conf.glob("base/parameters*.yml")):
        parts.append(f"## {file.name}\n\n{_header(file.read_text('utf-8'))}\n")
        blocks: dict[str, list[Parameter]] = {}
        for parameter in read(file):
            name = parameter.path.split(".")[0]
            blocks.setdefault(name, []).append(parameter)
        plain = [rows[0] for rows in blocks.values() if len(rows) == 1]
        if plain:
            parts.append(_table(plain, others))
        parts += [f"### {name}\n\n{_table(rows, others)}" for name, rows in blocks.items() if len(rows) > 1]
    return "\n".join(parts)


def read(file: Path) -> list[Parameter]:
    """Every key of a YAML file, blocks before what is in them; `{...}` and lists are values."""
    text = file.read_text("utf-8")
    root = yaml.compose(text, Loader=yaml.SafeLoader)
    return list(_walk(root, "", text, text.splitlines())) if root else []


def _walk(block: yaml.MappingNode, prefix: str, text: str, lines: list[str]) -> Iterator[Parameter]:
    for key, value in block.value:
        path = f"{prefix}{key.value}"
        inner = isinstance(value, yaml.MappingNode) and not value.flow_style
        own = lines[key.start_mark.line] if inner else lines[value.end_mark.line : value.end_mark.line + 1]
        rest = own[key.end_mark.column :] if inner else "".join(own)[value.end_mark.column :]
        note = " ".join(filter(None, [_above(lines, key.start_mark.line), _behind(rest)]))
        yield Parameter(path, None if inner else _written(value, text), note)
        if inner:
            yield from _walk(value, f"{path}.", text, lines)


def _written(value: yaml.Node, text: str) -> str:
    """The value as the file has it, on one line; of a scalar what it says, without quotes."""
    if isinstance(value, yaml.ScalarNode) and value.style in ("|", ">"):
        return " ".join(value.value.split())
    return " ".join(re.sub(r"#.*", "", text[value.start_mark.index : value.end_mark.index]).split())


def _behind(rest: str) -> str:
    """The comment at the end of a line."""
    found = re.match(r"[\s:,]*#\s*(.*)", rest)
    return found[1].strip() if found else ""


def _above(lines: list[str], number: int) -> str:
    """The comment lines directly above line `number`, unless they are the head of the file."""
    first = number
    while first and lines[first - 1].lstrip().startswith("#"):
        first -= 1
    return "" if first == 0 else " ".join(line.lstrip("# ").strip() for line in lines[first:number])


def _header(text: str) -> str:
    """The comment that a file begins with."""
    head = re.match(r"(#.*\n)*", text)[0]
    return " ".join(line.lstrip("# ") for line in head.splitlines())


def _table(rows: list[Parameter], others: dict[str, dict[str, str | None]]) -> str:
    """Rows as Markdown, with a column for each recipe that changes one of them."""
    recipes = [name for name, values in others.items() if any(values.get(row.path) for row in rows)]
    lines = [["parameter", "default", *recipes, "what it is"]]
    lines.append(["---"] * len(lines[0]))
    for row in rows:
        if row.value is None and not row.note:
            continue
        changed = [_code(others[name].get(row.path)) for name in recipes]
        lines.append([_code(row.path), _code(row.value), *changed, _prose(row.note)])
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines) + "\n"


def _prose(note: str) -> str:
    """A comment as text of a table's cell."""
    return note.replace("<", "&lt;").replace("|", "\\|")


def _code(value: str | None) -> str:
    if not value:
        return ""
    shown = value if len(value) <= LONGEST else f"{value[:LONGEST]}…"
    return f"`{shown}`".replace("|", "\\|")
