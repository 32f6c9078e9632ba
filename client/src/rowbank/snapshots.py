"""Snapshots of all tables: what `rowbank.files.snapshots` offers programs. Needs `rowbank[parquet]`."""

from rowbank.files.snapshots import ShardPoint, Snapshot, SnapshotFile, SnapshotTable, find, restore, save, verify

__all__ = ["ShardPoint", "Snapshot", "SnapshotFile", "SnapshotTable", "find", "restore", "save", "verify"]
