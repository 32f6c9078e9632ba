"""Rows in files: where files lie, table files in Parquet, snapshots and their parts, TFRA's own data."""
