"""What a shard's mutations pass: the window of their ids, and the queue of the journal."""

from __future__ import annotations

from rowbank_server import _core
from rowbank_server.ps.durability.dedup import DedupWindow
from rowbank_server.settings.ps import PsSettings


def new_queue(settings: PsSettings) -> tuple[DedupWindow, _core.JournalQueue]:
    """What remembers requests, and the queue that tells it what is done."""
    dedup = DedupWindow(window=settings.dedup_window, max_clients=settings.dedup_clients)
    return dedup, _core.JournalQueue(
        dedup.native,
        max_pending_bytes=settings.journal_max_pending_bytes,
        max_bytes=settings.journal_max_bytes,
        max_released_bytes=settings.follow_buffer_bytes,
        wait_s=settings.journal_wait_s,
    )
