"""A follow of rows by a client of the parameter server, in a thread of its own: their keys, from now on.

The client goes on from where it was after cuts and take-overs, and says where it could not. Where it gives up, another
one is opened, and any row may have moved meanwhile.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Sequence

import numpy as np

from rowbank import ChangeBatch, Client
from rowbank.changes import read_position
from rowbank.credentials import Credentials
from rowbank.errors import RowbankError
from rowbank_server.retrieval.catalogue.rows_feed import Sink

_log = logging.getLogger("rowbank.api")

_TIMEOUT_S = 5.0
_LOOK_S = 0.25  # How soon it notices that it was closed.
_LEAVE_S = 30.0  # For catching up with who takes its place; then its tables count as missed.
_PAUSES_S = (0.1, 0.25, 0.5, 1.0, 2.0)


class RowFollow:
    """Follows `tables` on all shards until it is closed.

    Args:
        targets: addresses of all shards.
        name: by which the shards' lists of followers name this process.
        credentials: what shards are connected to with; None: as for `Client`.
    """

    def __init__(
        self,
        targets: Sequence[str],
        tables: Sequence[str],
        sink: Sink,
        name: str,
        credentials: Credentials | None = None,
    ) -> None:
        self._credentials = credentials
        self._targets = list(targets)
        self._tables = list(tables)
        self._sink = sink
        self._name = name
        self._was_in_force = False
        self._leaves_at = float("inf")
        self._leaves_after: Sequence[int] = ()
        self._place: Sequence[int] = ()
        self._problem = ""
        self._stop = threading.Event()
        threading.Thread(target=self._run, name="rows-follow", daemon=True).start()

    @property
    def place(self) -> Sequence[int]:
        """See `Follow`."""
        return self._place

    def close(self, *, after: Sequence[int] | None = None) -> None:
        """Ends it, see `Follow`; does not wait for its thread."""
        if after is None:
            self._stop.set()
        else:
            self._leaves_after, self._leaves_at = after, time.monotonic() + _LEAVE_S

    def _run(self) -> None:
        failures = 0
        while not self._stop.is_set():
            began_at = time.monotonic()
            try:
                self._follow()
            except RowbankError as error:
                self._failed(str(error))
            except Exception as error:
                _log.exception("following rows failed for a reason that is a defect")
                self._failed(str(error))
            if self._was_in_force and not self._stop.is_set():
                self._sink.missed(self._tables)  # Until it is in force again, whoever reads them looks now and then.
            failures = 1 if time.monotonic() - began_at > 2 * _TIMEOUT_S else failures + 1
            self._stop.wait(_PAUSES_S[min(failures, len(_PAUSES_S)) - 1])

    def _follow(self) -> None:
        """Tells the sink what one follower says, until it fails or is not wanted any more. Raises `RowbankError`."""
        with (
            Client(self._targets, timeout_s=_TIMEOUT_S, credentials=self._credentials) as client,
            client.follow(self._tables, since="now", detail="keys", name=self._name) as follower,
        ):
            self._problem = ""
            if self._was_in_force:
                self._say_missed(self._tables)
            while not self._stop.is_set() and not self._leave():
                batch = follower.poll(_LOOK_S)
                if batch is not None and not self._stop.is_set():
                    self._take_in(batch)
                places = read_position(follower.position, len(self._targets))
                self._place = [place.number if place is not None else 0 for place in places]
                if not self._was_in_force and all(places):
                    self._was_in_force = True
                    self._sink.in_force()

    def _leave(self) -> bool:
        """Whether another follow tells everything from here on. If this one comes no further, something was missed."""
        if time.monotonic() >= self._leaves_at:
            self._say_missed(self._tables)
            self._stop.set()
        elif self._leaves_after and all(mine >= its for mine, its in zip(self._place, self._leaves_after, strict=True)):
            self._stop.set()
        return self._stop.is_set()

    def _take_in(self, batch: ChangeBatch) -> None:
        if batch.restarted or batch.dropped:
            self._say_missed([batch.table])
        if not batch.picture:  # Its rows need not have moved, and those that did are among what was missed.
            keys = np.concatenate([batch.keys, batch.removed])
            if len(keys):
                self._sink.moved(batch.table, keys, batch.done_s or time.monotonic())

    def _say_missed(self, tables: Sequence[str]) -> None:
        _log.info("changes of rows of %s were missed", ", ".join(tables))
        self._sink.missed(tables)

    def _failed(self, problem: str) -> None:
        if problem != self._problem:
            _log.warning("rows cannot be followed: %s; tried again and again", problem)
        self._problem = problem
