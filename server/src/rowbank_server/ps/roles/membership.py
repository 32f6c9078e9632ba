"""Tells the other processes of the shard about this one, and learns of them."""

from __future__ import annotations

import logging
import threading

from rowbank.errors import RedisUnavailable
from rowbank_protos.v1 import admin_pb2
from rowbank_server.ps.roles.part import Part
from rowbank_server.storage.members import Members

_log = logging.getLogger("rowbank.ps")
_INTERVAL_S = 1.0


class Membership:
    """Announces `part` once a second, and at once when it changed."""

    def __init__(self, members: Members, part: Part) -> None:
        self.part = part
        self._members = members
        self._known: list[admin_pb2.ShardMember] = []
        self._wake = threading.Event()
        self._stopping = False
        self._thread = threading.Thread(target=self._run, name="members", daemon=True)

    def start(self) -> None:
        """Starts to announce."""
        self._thread.start()

    def stop(self) -> None:
        """Ends announcing, and says that this process is gone."""
        self._stopping = True
        self._wake.set()
        if self._thread.is_alive():
            self._thread.join()
        try:
            self._members.forget(self.part.server_id)
        except RedisUnavailable as error:
            _log.debug("members keep this process for a moment: %s", error)

    def note(self) -> None:
        """Announces soon what changed."""
        self._wake.set()

    def has_standby(self) -> bool:
        """Whether a standby has everything, asked now."""
        try:
            self._known = self._members.current()
        except RedisUnavailable as error:
            _log.debug("members are not known: %s", error)
            return False
        return any(member.role == "standby" and member.state == "following" for member in self._known)

    def current(self) -> list[admin_pb2.ShardMember]:
        """All members as this process knows them, itself as it is now."""
        me = self.part.describe()
        others = [member for member in self._known if member.server_id != me.server_id]
        if me.role == "owner":  # Whoever else says so was one.
            others = [member for member in others if member.role != "owner"]
        return sorted([me, *others], key=lambda member: (member.role != "owner", member.address))

    def _run(self) -> None:
        while not self._stopping:
            try:
                self._known = self._members.announce(self.part.describe())
            except RedisUnavailable as error:
                _log.debug("this process is not announced: %s", error)
            except Exception:
                _log.exception("this process was not announced for a reason that is a defect; it is tried again")
            self._wake.wait(_INTERVAL_S)
            self._wake.clear()
