"""Kedro dataset classes for what kedro-datasets has none: tables of parts, folders, raw and model folders, pages."""

from ruri_kedro.datasets.folders import FolderDataset
from ruri_kedro.datasets.models import ModelFolder
from ruri_kedro.datasets.pages import MarkdownDataset, PageDataset
from ruri_kedro.datasets.raw import RawFolder
from ruri_kedro.datasets.tables import TableDataset

__all__ = ["FolderDataset", "MarkdownDataset", "ModelFolder", "PageDataset", "RawFolder", "TableDataset"]
