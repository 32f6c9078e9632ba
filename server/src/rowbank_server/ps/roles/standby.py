"""A standby: watches the owner that it follows, and takes over when the owner is gone.

When to try is decided here, from the stream and the lease. Whether it succeeds is decided by Redis, in one script: so
of several standbys one wins, and one that is wrong about the owner disturbs nobody.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from typing import Protocol

from rowbank.errors import NotReady, RedisUnavailable
from rowbank_server.ps.durability.claiming import Claiming, FollowedOwner
from rowbank_server.ps.roles.part import Part
from rowbank_server.storage.lease import Lease, Sight
from rowbank_server.storage.state import OutpacedError, UnfinishedJournalError

_log = logging.getLogger("rowbank.ps")
_LOOK_S = 0.02  # Between looks at an owner that may be gone.
_CALM_S = 0.1  # Between looks at the stream of one that is there.
_NOTE_S = 1.0
# How long nobody must hold the lease before rows are loaded from Redis, so that a standby which has them goes first, or
# the owner that was killed and is started again. Where everything was written in an orderly stop, there is none.
_COLD_WAIT_S = 5.0


class Followed(FollowedOwner, Protocol):
    """What a standby asks of `Following`."""

    @property
    def state(self) -> str: ...

    @property
    def connected(self) -> bool: ...

    @property
    def heard_s(self) -> float: ...

    @property
    def whole(self) -> bool: ...

    @property
    def handed_over(self) -> bool: ...

    @property
    def owner_address(self) -> str: ...

    def start(self) -> None: ...


class Standby:
    """Runs in a thread of its own until this process is the owner, or stops.

    Args:
        shard_count: how many shards this process takes part in.
        on_state: called after the state that is said of this process has changed.
        on_owner: called once this process is the owner.
        on_failed: called if it cannot go on as a standby and must start again, with the reason.
    """

    def __init__(
        self,
        *,
        part: Part,
        lease: Lease,
        followed: Followed,
        claiming: Claiming,
        shard_count: int,
        on_state: Callable[[], None],
        on_owner: Callable[[], None],
        on_failed: Callable[[str], None],
    ) -> None:
        self._part = part
        self._lease = lease
        self._followed = followed
        self._claiming = claiming
        self._shard_count = shard_count
        self._on_state = on_state
        self._on_owner = on_owner
        self._on_failed = on_failed
        self._stopping = threading.Event()
        self._absent_since: float | None = None
        self._noted = 0.0
        self._thread = threading.Thread(target=self._run, name="standby", daemon=True)

    def start(self) -> None:
        """Starts to watch."""
        self._thread.start()

    def stop(self) -> None:
        """Ends watching; a take-over that is under way ends first."""
        self._stopping.set()
        if self._thread.is_alive() and self._thread is not threading.current_thread():
            self._thread.join()

    def _run(self) -> None:
        wait_s = _CALM_S
        while not self._stopping.wait(wait_s):
            try:
                wait_s = self._watch()
            except RedisUnavailable as error:  # Then nobody can take over.
                _log.debug("the owner's lease cannot be seen: %s", error)
                wait_s = _CALM_S
            except NotReady as error:
                self._on_failed(str(error))
                return
            except Exception as error:
                _log.exception("a take-over failed for a reason that is a defect")
                self._on_failed(f"a take-over failed: {type(error).__name__}")
                return
            if self._part.role == "owner":
                return

    def _watch(self) -> float:
        """Looks once, and takes over if it is time to; returns the seconds to the next look."""
        followed = self._followed
        claimed = self._claiming.claimed
        if not claimed:
            self._part.owner_address = followed.owner_address
            if followed.connected and not followed.handed_over and not self._silent():
                self._absent_since = None
                self._say(followed.state)
                self._note_catalog()
                return _CALM_S
        seen = self._lease.look()
        if self._claiming.is_outpaced(seen):
            raise NotReady("another process has the shard, of which a part was taken over here")
        handed_over = followed.handed_over and seen.owner == followed.owner_id
        if seen.holder and seen.holder != self._lease.owner and not handed_over:
            self._absent_since = None
            self._say(followed.state)
            if followed.whole:
                self._claiming.look_ahead(followed)
            return min(_CALM_S, seen.left_s + 0.001)
        now = time.monotonic()
        self._absent_since = now if self._absent_since is None else self._absent_since
        if seen.shard_count not in (0, self._shard_count):
            self._say(f"refused: Redis has the shard as one of {seen.shard_count}, not {self._shard_count}")
            return _CALM_S
        if not claimed:
            self._say(followed.state)
        self._try(seen, absent_s=now - self._absent_since, handed_over=handed_over)
        return _LOOK_S

    def _say(self, state: str) -> None:
        if state != self._part.state:
            self._part.state = state
            self._on_state()

    def _note_catalog(self) -> None:
        """Once a second, so that a catalog which Redis lost later is known for one."""
        now = time.monotonic()
        if self._followed.whole and now - self._noted > _NOTE_S:
            self._noted = now
            self._claiming.note_catalog()

    def _silent(self) -> bool:
        return time.monotonic() - self._followed.heard_s > self._lease.lease_s

    def _try(self, seen: Sight, *, absent_s: float, handed_over: bool) -> None:
        try:
            if self._claiming.claimed or self._followed.whole:
                self._take_over(seen, handed_over=handed_over)
            elif absent_s >= self._lease.lease_s and (seen.clean or absent_s >= _COLD_WAIT_S):
                self._load(seen)
            else:
                return
        except OutpacedError:
            _log.info("another process was faster to take over")
            self._absent_since = None
            return
        except RedisUnavailable as error:
            if self._part.state != "taking over":
                raise
            _log.error("a take-over was cut short, it is tried again: %s", error)
            return
        self._on_owner()

    def _take_over(self, seen: Sight, *, handed_over: bool) -> None:
        followed = self._followed
        silent_ms = (time.monotonic() - followed.heard_s) * 1e3
        why = "handed over" if handed_over else f"is gone, silent for {silent_ms:.0f} ms"
        _log.warning("the owner %s %s; taking over at position %d", followed.owner_address, why, followed.position)
        self._part.state = "taking over"
        self._claiming.take_over(followed, seen, handed_over=handed_over)

    def _load(self, seen: Sight) -> None:
        _log.warning("nobody holds the shard's lease; loading it from Redis")
        self._part.state = "loading"
        self._followed.detach()
        try:
            self._claiming.load(seen)
        except OutpacedError:
            self._followed.start()
            raise
        except UnfinishedJournalError as error:
            raise NotReady(str(error)) from None
        except RedisUnavailable as error:  # What was loaded so far is of no use.
            raise NotReady(f"loading was cut short: {error}") from None
