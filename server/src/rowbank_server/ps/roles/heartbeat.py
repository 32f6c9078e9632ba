"""Says that the owner is alive: renews its lease, in a thread of its own that waits for nothing else."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable

from rowbank.errors import RedisUnavailable
from rowbank_server.storage.lease import Lease

_log = logging.getLogger("rowbank.ps")


class Heartbeat:
    """Renews the lease four times while it holds. A busy interpreter or a stalled Redis delays it, and ends nothing.

    Attributes:
        holds_until: until then, monotonic seconds, no standby takes over by itself.

    Args:
        epoch: the epoch that this process has.
        on_lost: called whenever the shard is another's, or Redis lost that it is this process's; the keeper finds out
            which.
    """

    def __init__(self, lease: Lease, epoch: Callable[[], int], *, on_lost: Callable[[], None]) -> None:
        self._lease = lease
        self._epoch = epoch
        self._on_lost = on_lost
        self.holds_until = 0.0
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="lease", daemon=True)

    def start(self) -> None:
        """Starts renewing; from then on a second call does nothing."""
        if not self._thread.is_alive():
            self._thread.start()

    def stop(self) -> None:
        """Ends renewing, and leaves the lease to expire."""
        self._stopping.set()
        if self._thread.is_alive():
            self._thread.join()

    def release(self) -> None:
        """Ends renewing and the lease, so that nobody waits for it to expire."""
        self.stop()
        try:
            self._lease.release()
        except RedisUnavailable as error:
            _log.info("the lease could not be ended and expires by itself: %s", error)

    def _run(self) -> None:
        while not self._stopping.wait(self._lease.lease_s / 4):
            self._beat()

    def _beat(self) -> None:
        began = time.monotonic()
        try:
            if self._lease.renew(self._epoch()):
                self.holds_until = began + self._lease.lease_s
            else:
                self._on_lost()
        except RedisUnavailable as error:
            _log.debug("the lease was not renewed: %s", error)
        except Exception:
            _log.exception("the lease was not renewed for a reason that is a defect; it is tried again")
