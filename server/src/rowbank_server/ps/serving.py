"""One process of a shard, from its first answer to its end: as what it starts, what it becomes, and how it stops."""

from __future__ import annotations

import logging
import math
import socket
import sys
import time
from dataclasses import dataclass

from rowbank.addresses import split_address
from rowbank.errors import NotReady, RedisUnavailable
from rowbank_server.journal.journal import Journal
from rowbank_server.ps.deltas.log import DeltaLog
from rowbank_server.ps.durability.claiming import Claiming
from rowbank_server.ps.durability.keeper import Keeper
from rowbank_server.ps.following.following import Following
from rowbank_server.ps.following.identity import Follower
from rowbank_server.ps.insight.upkeep import InsightUpkeep
from rowbank_server.ps.roles.heartbeat import Heartbeat
from rowbank_server.ps.roles.membership import Membership
from rowbank_server.ps.roles.standby import Standby
from rowbank_server.ps.server import PsServer
from rowbank_server.ps.services.draining import Draining
from rowbank_server.ps.tables.evictor import Evictor
from rowbank_server.ps.tables.shard import Shard
from rowbank_server.registry.upkeep import Upkeep
from rowbank_server.settings import PsSettings, StartError
from rowbank_server.settings.ps import AUTO, OFF
from rowbank_server.stopping import StopRequest
from rowbank_server.storage.connection import Redis, translated
from rowbank_server.storage.lease import Lease
from rowbank_server.storage.state import UnfinishedJournalError

_log = logging.getLogger("rowbank.ps")
_HAND_OVER_WAIT_S = 2.0
_LOOK_S = 0.01
_PAUSE_S = 0.2
_EVERYWHERE = {"0.0.0.0", "[::]"}


@dataclass(frozen=True, slots=True)
class Parts:
    """What a process is made of; `me` and `following` are there if it does not start as owner."""

    server: PsServer
    shard: Shard
    claiming: Claiming
    journal: Journal
    keeper: Keeper
    evictor: Evictor
    insight: InsightUpkeep
    upkeep: Upkeep
    log: DeltaLog
    draining: Draining
    lease: Lease
    heartbeat: Heartbeat
    membership: Membership
    stop_request: StopRequest
    me: Follower | None
    following: Following | None


class Serving:
    """Runs a process. `run` is for the main thread; a standby's thread calls `become_owner`.

    Attributes:
        address: HOST:PORT that the server listens on, once it runs.
        again: it ended as what it was, and is to start again as a standby.
        http: the URL at which it shows itself to operators; empty: it does not.
    """

    def __init__(self, parts: Parts, settings: PsSettings) -> None:
        self._parts = parts
        self._settings = settings
        self._owns = False
        self._standby = self._new_standby()
        self._stopping = ""
        self.address = ""
        self.again = False
        self.http = ""
        parts.keeper.on_redis_away = parts.server.set_redis_away

    def run(self) -> int:
        """Serves until asked to stop; returns the exit status."""
        parts = self._parts
        self.address = parts.server.start(self._settings.bind)
        part = parts.membership.part
        part.address = parts.lease.address = self._settings.advertise or _reachable(self.address)
        part.native_address = self._listen_natively(part.address)
        if parts.following is None:
            self._load()
        parts.membership.start()
        self._follow()
        _log.info("shard %s of namespace %s: %s", self._settings.shard, self._settings.namespace, part.role)
        sys.stdout.write(f"ready rowbank-ps {self.address}{self.http and f' http={self.http}'}\n")
        sys.stdout.flush()
        reason = self._stopping = parts.stop_request.wait()
        if self._standby is not None:
            self._standby.stop()
        if not self._owns:
            return self._stop_following(reason)
        _log.info("stopping (%s): requests in flight end, then changed rows are written", reason)
        return self._drain()

    def _listen_natively(self, reached_at: str) -> str:
        """Starts the native endpoint as the settings have it; returns where others reach it, or nothing."""
        wanted, server = self._settings.native_bind, self._parts.server
        if wanted == OFF or (wanted == AUTO and not server.has_native):
            return ""
        if wanted == AUTO:
            host, _ = split_address(self._settings.bind)
            wanted = f"{host}:0"
        bound = server.start_native(wanted)
        if bound.startswith("unix:"):
            return bound
        host, port = split_address(bound)
        return f"{split_address(reached_at)[0] if host in _EVERYWHERE else host}:{port}"

    def not_ready(self) -> str:
        """Why requests of clients are not for this process now; empty: they are."""
        if self._stopping:
            return f"it stops ({self._stopping})"
        part = self._parts.membership.part
        if self._parts.server.is_serving:
            return ""
        if part.role == "owner":
            return part.current_state
        where = f"; the owner is at {part.owner_address}" if part.owner_address else ""
        return f"{part.role}: {part.current_state}{where}"

    def _new_standby(self) -> Standby | None:
        parts = self._parts
        if parts.following is None or not self._settings.standby:
            return None
        return Standby(
            part=parts.membership.part,
            lease=parts.lease,
            followed=parts.following,
            claiming=parts.claiming,
            shard_count=self._settings.shard_count,
            on_state=parts.membership.note,
            on_owner=self.become_owner,
            on_failed=self.start_again,
        )

    def _follow(self) -> None:
        parts = self._parts
        if parts.following is None or parts.me is None:
            return
        parts.me.address = parts.membership.part.address
        parts.following.start()
        if self._standby is not None:
            self._standby.start()
        else:
            parts.shard.serve_followed()
            parts.server.set_serving()

    def wait_for_redis(self, redis: Redis) -> bool:
        """Before a start anew, which would fail without Redis: False, if this process is asked to end meanwhile."""
        while not self._parts.stop_request.asked_within(_PAUSE_S):
            try:
                with translated("start"):
                    redis.ping()
            except RedisUnavailable as error:
                _log.debug("%s", error)
                continue
            return True
        return False

    def become_owner(self) -> None:
        """Starts what an owner does, once the shard is loaded or taken over."""
        parts = self._parts
        self._owns = True
        part = parts.membership.part
        part.role, part.state, part.owner_address = "owner", "serving", ""
        parts.heartbeat.start()
        parts.keeper.start()
        parts.evictor.start()
        parts.insight.start()
        parts.upkeep.start()
        parts.server.set_owning()
        parts.membership.note()
        _log.info("owner of shard %s", self._settings.shard)

    def start_again(self, reason: str) -> None:
        """Ends this process as what it is; a standby goes on as a new one."""
        self.again = self._settings.standby
        self._parts.stop_request.ask(reason)

    def replaced(self) -> None:
        """Another process owns the shard: nothing is answered any more."""
        parts = self._parts
        self._owns_no_more("replaced")
        parts.draining.close("was replaced by another process")
        parts.server.set_not_serving()
        parts.log.close("another process has taken over the shard")
        self.start_again("another process serves the shard")

    def _owns_no_more(self, state: str) -> None:
        """So that callers who ask do not take this process for the owner."""
        part = self._parts.membership.part
        part.role, part.state = "standby", state

    def _load(self) -> None:
        try:
            self._parts.claiming.load()
        except UnfinishedJournalError as error:
            raise StartError(str(error)) from None
        self.become_owner()

    def _stop_following(self, reason: str) -> int:
        parts = self._parts
        _log.info("stopping (%s)", reason)
        parts.heartbeat.stop()
        if parts.following is not None:
            parts.following.stop()
        parts.log.close("this server stops")
        parts.server.stop(grace_s=self._settings.drain_timeout_s)
        parts.membership.stop()
        return 0

    def _drain(self) -> int:
        """Ends what is in flight, then hands over, or writes what is in RAM alone."""
        parts = self._parts
        handed_over = not parts.keeper.replaced and self._hand_over()
        parts.log.close("this server stops")
        parts.server.stop(grace_s=self._settings.drain_timeout_s)
        parts.evictor.stop()
        parts.insight.stop()
        parts.upkeep.stop()
        appended = parts.journal.stop()
        parts.keeper.stop(longest_s=self._settings.drain_timeout_s if appended else math.inf)
        parts.membership.stop()
        if not (handed_over or parts.keeper.replaced):
            return self._write_all(appended=appended)
        parts.heartbeat.stop()
        if handed_over:
            _log.info("stopped; a standby has taken over")
            return 0
        _log.error("another process serves shard %s now; stopped without writing", self._settings.shard)
        return 1

    def _write_all(self, *, appended: bool) -> int:
        parts = self._parts
        try:
            written = parts.keeper.flush_last()
            if appended and written is not None:
                parts.journal.delete_stream()
        except (RedisUnavailable, NotReady) as error:
            dirty = sum(table.rows.dirty_rows() for table in parts.shard.tables())
            _log.error("stopped with %d changed rows that could not be written: %s", dirty, error)
            parts.heartbeat.stop()
            return 1
        parts.heartbeat.release()
        if written is None:
            dirty = parts.keeper.dirty_rows()
            _log.info("stopped after drain_timeout_s; %d changed rows are in the journal, for the next start", dirty)
        else:
            _log.info("stopped; the last write-back had %d rows", written)
        return 0

    def _hand_over(self) -> bool:
        """Lets a standby that has everything take over; False: there is none, or it did not within 2 s.

        Write-back stops first, so that nothing comes after the word that this process has ended.
        """
        parts = self._parts
        if not parts.membership.has_standby():
            return False
        started = time.monotonic()
        parts.keeper.stop(longest_s=0.0)  # The standby knows what was not written.
        parts.draining.close("stops")
        parts.server.set_not_serving()
        parts.evictor.stop()
        if not parts.draining.wait_empty(timeout_s=self._settings.drain_timeout_s):
            return False
        try:
            parts.journal.wait_appended(parts.journal.last_position())
            parts.log.hand_over()
            deadline = time.monotonic() + _HAND_OVER_WAIT_S
            while time.monotonic() < deadline:
                if parts.lease.look().owner != parts.lease.owner:
                    self._owns_no_more("handed over")
                    _log.info("handed over in %.0f ms", (time.monotonic() - started) * 1e3)
                    return True
                time.sleep(_LOOK_S)
        except (RedisUnavailable, NotReady) as error:
            _log.warning("nobody can take over: %s", error)
        return False


def _reachable(address: str) -> str:
    """Where others reach a server that listens on `address`."""
    host, port = split_address(address)
    return f"{socket.gethostname() if host in _EVERYWHERE else host}:{port}"
