"""Features from files: what `rowbank.files.features` offers programs. Needs `rowbank[parquet]`."""

from rowbank.files.features import ImportReport, Progress, import_features

__all__ = ["ImportReport", "Progress", "import_features"]
