"""Why nothing is left of a source: how many rows and texts each of its rules has removed."""

from collections import Counter
from dataclasses import dataclass, field
from typing import Any


@dataclass
class Removed:
    """Counts that are made where something is removed."""

    rows: int = 0  # read
    by_rule: Counter[str] = field(default_factory=Counter)  # parameter: rows, or pairs made of them
    labels: Counter[str] = field(default_factory=Counter)  # of the rows that were selected, where the kind reads them

    def add(self, rule: str) -> None:
        """Count something that a rule removes."""
        self.by_rule[rule] += 1

    def read(self, fields: dict[str, Any]) -> dict[str, Any]:
        """Count the label of a row that goes on to its kind; gives the row."""
        if "label" in fields:
            self.labels[str(fields["label"])] += 1
        return fields

    def __str__(self) -> str:
        parts = [f"{rule} removed {count:,}" for rule, count in self.by_rule.most_common()]
        if self.labels:
            found = ", ".join(f"{label} {count:,}" for label, count in self.labels.most_common(5))
            parts.append(f"their labels are {found}")
        left = self.rows - sum(count for rule, count in self.by_rule.items() if rule in ROW_RULES)
        if left and not (self.by_rule.keys() - set(ROW_RULES)):
            parts.append(f"the kind makes nothing of the {left:,} that are left")
        return f"Of {self.rows:,} rows: {'; '.join(parts)}" if self.rows else "It has no rows"


ROW_RULES = ("where", "exclude", "drop_lowest")  # remove rows; all others remove what was made of a row
