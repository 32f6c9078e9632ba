"""Rows out of TFRA's own files and Redis tables: what `rowbank.files.tfra_data` offers programs."""

from rowbank.files.tfra_data import import_files, import_redis

__all__ = ["import_files", "import_redis"]
