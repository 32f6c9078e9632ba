"""Tables as Parquet files: what `rowbank.files.parquet` offers programs. Needs `rowbank[parquet]`."""

from rowbank.files.parquet import FileReport, Progress, export_table, import_table

__all__ = ["FileReport", "Progress", "export_table", "import_table"]
