"""The queue that a shard's mutations pass."""

from __future__ import annotations

from rowbank_server import _core
from rowbank_server.ps.durability.dedup import DedupWindow
from rowbank_server.settings.ps import PsSettings


def new_queue(settings: PsSettings, dedup: DedupWindow) -> _core.JournalQueue:
    """As the settings have it; what is done is remembered by `dedup`."""
    return _core.JournalQueue(
        dedup.native,
        max_pending_bytes=settings.journal_max_pending_bytes,
        max_bytes=settings.journal_max_bytes,
        max_released_bytes=settings.follow_buffer_bytes,
        wait_s=settings.journal_wait_s,
    )
