"""A self-contained HTML page as a Kedro data set."""

from kedro_datasets._typing import HTMLPreview
from kedro_datasets.text import TextDataset


class PageDataset(TextDataset):
    """A text file that Kedro-Viz shows as the page it is.

    >>> PageDataset(filepath="data/08_reporting/sample/mining_supervised.html")
    """

    def preview(self) -> HTMLPreview:
        """The page."""
        return HTMLPreview(self.load())
