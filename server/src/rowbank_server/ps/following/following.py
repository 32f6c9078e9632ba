"""Follows the owner of a shard: finds it, takes what it says, and goes on from there after a cut."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable

from rowbank.credentials import Credentials
from rowbank.errors import InvalidRequest, RedisUnavailable
from rowbank_protos.v1 import deltas_pb2
from rowbank_server.ps.deltas.log import DeltaLog
from rowbank_server.ps.durability.dedup import DedupWindow
from rowbank_server.ps.following.ages import AgeBound
from rowbank_server.ps.following.applier import Applier
from rowbank_server.ps.following.copies import Copies, VoidError
from rowbank_server.ps.following.identity import Follower, RefusedError
from rowbank_server.ps.following.stream import OwnerStream, StreamEndedError
from rowbank_server.ps.tables.shard import Shard

_log = logging.getLogger("rowbank.following")
_FIRST_RETRY_S = 0.05
_LONGEST_RETRY_S = 1.0
_SILENCE_S = 3.0  # Of an owner that says something every 0.2 s.
_OLDER_AFTER_S = 10.0  # An owner of an older epoch is a zombie, unless nobody else was heard for so long.


class Following:
    """Keeps the tables of `shard` as its owner has them. Thread-safe.

    Attributes:
        epoch, owner_id, owner_address: of the owner that was followed last.
        cuts: how many streams of owners ended.

    Args:
        log: gets the mutations for those who will follow this process; of a standby.
        find_owner: answers the address of the owner; None: there is none. May raise RedisUnavailable.
    """

    def __init__(
        self,
        shard: Shard,
        dedup: DedupWindow,
        log: DeltaLog,
        me: Follower,
        find_owner: Callable[[], str | None],
        credentials: Credentials,
    ) -> None:
        self._me = me
        self._credentials = credentials
        self._find_owner = find_owner
        self._applier = Applier(shard, dedup, log if me.role == "standby" else None)
        self._applying = threading.Lock()
        self._ended = threading.Event()  # Of the thread that follows now.
        self._stream: OwnerStream | None = None
        self._followed: OwnerStream | None = None  # The same, once its owner is known.
        self._reason = "waiting for an owner"
        self._heard = 0.0
        self._until: float | None = None  # Every mutation that the owner acknowledged before then is applied.
        self.epoch = 0
        self.owner_id = ""
        self.owner_address = ""
        self.cuts = 0

    @property
    def copies(self) -> Copies:
        """The tables."""
        return self._applier.copies

    @property
    def connected(self) -> bool:
        """Whether an owner is followed now."""
        return self._followed is not None

    @property
    def position(self) -> int:
        """Everything up to it is applied to the tables that are whole."""
        return self._applier.position

    @property
    def whole(self) -> bool:
        """Whether every table of the owner is here."""
        return self._applier.copies.whole

    @property
    def heard_s(self) -> float:
        """Monotonic seconds at which the owner's last message came; 0: none has."""
        stream = self._followed
        return self._heard if stream is None else stream.heard

    @property
    def age_s(self) -> float:
        """How far the rows are behind the owner's, at most; infinite where nothing was heard yet."""
        until = self._until
        return float("inf") if until is None else max(0.0, time.monotonic() - until)

    @property
    def handed_over(self) -> bool:
        """Whether the owner stops, and everything that it acknowledged is applied here."""
        return self._applier.handed_over

    @property
    def last_flush(self) -> int:
        """The owner's flush counter after the last write-back that ended; 0: none has."""
        return self._applier.write_backs.last_flush

    @property
    def records(self) -> int:
        """How many mutations were applied."""
        return self._applier.records

    @property
    def unusable(self) -> int:
        """Records and rows that could not be applied."""
        return self._applier.unusable

    @property
    def state(self) -> str:
        """For people, in a few words."""
        if not self.connected:
            return self._reason
        silent_s = time.monotonic() - self.heard_s
        if silent_s > 1:
            return f"following, but the owner says nothing for {silent_s:.0f} s"
        copies = self._applier.copies
        if not copies.whole:
            return f"taking tables over, {copies.whole_count} of {len(copies)} are here"
        return "following"

    def settled(self, table_id: int) -> bool:
        """Whether a table's dirty marks name everything in which Redis differs from it."""
        return self._applier.copies.settled(table_id)

    def start(self) -> None:
        """Begins to follow; again after `detach`."""
        self._ended = threading.Event()
        threading.Thread(target=self._run, args=(self._ended,), name="following", daemon=True).start()

    def stop(self) -> None:
        """Ends following."""
        self.detach()

    def detach(self) -> None:
        """Applies nothing any more, and leaves the tables as their owner needs them, for a take-over.

        What an unfinished write-back of the former owner was to write is marked dirty.
        """
        self._ended.set()
        stream = self._stream
        if stream is not None:
            stream.cancel()
        with self._applying:
            self._applier.stop()
        self._reason = "not following any more"

    def _run(self, ended: threading.Event) -> None:
        retry_s = _FIRST_RETRY_S
        while not ended.is_set():
            before, pictures = self._applier.position, self.copies.pictures
            self._try(ended)
            if self._applier.position > before or self.copies.pictures > pictures:
                retry_s = _FIRST_RETRY_S
            ended.wait(retry_s)
            retry_s = min(2 * retry_s, _LONGEST_RETRY_S)

    def _try(self, ended: threading.Event) -> None:
        """Follows an owner until something ends it."""
        try:
            address = self._find_owner()
            if address is None:
                self._reason = "waiting for an owner"
                return
            self._follow(address, ended)
        except (StreamEndedError, RefusedError, VoidError, RedisUnavailable, InvalidRequest) as error:
            if not ended.is_set():
                self._note(error)
        except Exception as error:
            _log.exception("following failed for a reason that is a defect; everything is asked for anew")
            with self._applying:
                if not ended.is_set():
                    self._applier.forget()
                    self._reason = f"failed: {type(error).__name__}"

    def _note(self, error: Exception) -> None:
        kind = "refused" if isinstance(error, RefusedError) else "cut off from the owner"
        reason = f"{kind}: {error}"
        if reason != self._reason:
            _log.warning("%s", reason)
        self._reason = reason

    def _follow(self, address: str, ended: threading.Event) -> None:
        with self._applying:  # As `detach` does, so that it sees either the stream or nothing that goes on.
            if ended.is_set():
                return
            stream = self._stream = OwnerStream(
                address, self._request(), silence_s=_SILENCE_S, credentials=self._credentials
            )
        try:
            self._take_all(stream, address, ended)
        finally:
            stream.close()
            with self._applying:
                if self._followed is stream:
                    self._heard, self._followed = stream.heard, None
                    self.cuts += 1

    def _take_all(self, stream: OwnerStream, address: str, ended: threading.Event) -> None:
        age: AgeBound | None = None
        for message, came in stream.messages():
            with self._applying:
                if ended.is_set():
                    return
                if age is None:
                    self._begin(message, address)
                    self._followed = stream
                    age = AgeBound(stream.asked, message.at_ms)
                    continue
                self._applier.take(message)
                until = age.until(message.at_ms, came)
                if until is not None:
                    self._until = until if self._until is None else max(self._until, until)

    def _begin(self, message: deltas_pb2.FollowResponse, address: str) -> None:
        """Takes the first message. Raises RefusedError, StreamEndedError."""
        hello = message.hello
        if not message.HasField("hello"):
            raise StreamEndedError("it did not begin with a greeting")
        self._me.require_same(hello)
        self._require_not_older(hello)
        if hello.server_id != self.owner_id:
            self._applier.write_backs.forget_flush()
        self.epoch, self.owner_id, self.owner_address = hello.epoch, hello.server_id, address
        self._applier.begin(message)
        source = hello.source or "start"
        _log.info("follow %s, epoch %d, position %d, from its %s", address, hello.epoch, self.position, source)

    def _require_not_older(self, hello: deltas_pb2.FollowHello) -> None:
        """Raises RefusedError if a later owner was followed. When that one is long gone, everything begins anew."""
        if hello.epoch >= self.epoch:
            return
        if time.monotonic() - self._heard > _OLDER_AFTER_S:  # Redis lost what it was told of the later one.
            self._applier.forget()
            self.epoch = 0
        raise RefusedError(f"it has epoch {hello.epoch}, and one of epoch {self.epoch} was followed")

    def _request(self) -> deltas_pb2.FollowRequest:
        me = self._me
        request = deltas_pb2.FollowRequest(
            name=f"{me.role} {me.address}",
            detail=deltas_pb2.FOLLOW_DETAIL_RECORDS,
            start=deltas_pb2.FOLLOW_START_PICTURE,
            role=me.role,
            address=me.address,
        )
        if self.position:
            request.start = deltas_pb2.FOLLOW_START_POSITION
            request.since.server_id, request.since.number = self.owner_id, self.position
            request.complete_tables.extend(self.copies.complete())
        return request
