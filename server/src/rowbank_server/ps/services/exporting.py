"""Rows as messages of an export or a snapshot."""

from __future__ import annotations

from collections.abc import Iterator

from rowbank_protos.columns import pack_counts, pack_keys, pack_values
from rowbank_protos.v1 import rows_pb2
from rowbank_server import _core

_CHUNK_BYTES = 512 << 10  # So that making and sending one keeps requests from a core for parts of a millisecond.
_METADATA_BYTES = 16  # Key, frequency and last use.


def export_messages(rows: _core.ExportedRows, *, most_rows: int | None = None) -> Iterator[rows_pb2.ExportResponse]:
    """`rows` in order, in messages of about 512 KiB, at least one row each and at most `most_rows`."""
    slot_width = 0 if rows.slots is None else rows.slots.shape[1]
    row_bytes = 4 * (rows.values.shape[1] + slot_width) + _METADATA_BYTES
    chunk_rows = max(1, _CHUNK_BYTES // row_bytes)
    if most_rows is not None:
        chunk_rows = min(chunk_rows, most_rows)
    for start in range(0, len(rows.keys), chunk_rows):
        part = slice(start, start + chunk_rows)
        yield rows_pb2.ExportResponse(
            keys=pack_keys(rows.keys[part]),
            values=pack_values(rows.values[part]),
            frequency=pack_counts(rows.frequency[part]),
            last_used=pack_counts(rows.last_used[part]),
            slots=b"" if rows.slots is None else pack_values(rows.slots[part]),
            slot_width=slot_width,
        )
