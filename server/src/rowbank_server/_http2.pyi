"""gRPC's unary calls over HTTP/2, framed by nghttp2; there where the server was built with it.

Threads run `Endpoint.serve`, which takes calls in without the interpreter's lock and takes that once for each call.
"""

from collections.abc import Callable, Sequence

from rowbank_server._core import (
    Authors,
    DedupWindow,
    JournalEntry,
    JournalQueue,
    MutationGate,
    MutationLock,
    RowTable,
    StepCounter,
)

class Call:
    """A call whose request has arrived."""

    @property
    def method(self) -> int:
        """The place of its path in the endpoint's list."""
    @property
    def metadata(self) -> list[tuple[str, str]]:
        """What the caller sent, in order; values of names that end in -bin are base64."""
    @property
    def peer(self) -> str:
        """Where it comes from, as gRPC writes it."""
    @property
    def active(self) -> bool:
        """Whether the caller is still there."""
    @property
    def remaining_s(self) -> float | None:
        """Seconds to its deadline, negative once that has passed; None: it has none."""
    @property
    def body(self) -> bytes:
        """The request."""

class Endpoint:
    """Listens once, and serves until it is stopped. Thread-safe.

    Args:
        methods: paths.
        unknown_method: the text for a call of another one.
        server_id: what a call's header `rowbank-server-id` has to say, if it has one.
        max_arriving, max_arriving_a_place: requests that may have begun and not arrived, of all and of one machine.
        handle: answers a call: number of the status, its text as it is sent, trailers, message.
        look: called with a call and its path once its headers are there: None, or the status, text and trailers that it
            is refused with before anything of its request is read. None: all are let in. A path and a token that were
            let in are not asked for again until the next sweep.
        starved: called when all threads are busy.
        unconfirmed: given a call and its push's entry, says why it is not known whether that will last, as `handle`
            does; a status of 0: it is known by now that it will.
        refusals: status, text and trailers for: a call for another server; too many requests that arrive; one that is
            slow; none, or more than one, in a call; a push that memory ran out for halfway.
        bounds_s: of the histogram of calls that are answered without the interpreter.
        max_keys: more than so many keys go to `handle`.
        most_at_once: more than so many reads, or pushes, at the same time go there, too.
        passes: where ids of pushes are looked up, what pushes pass, where they take positions, what is told who made
            them, and the number of their kind.
    """

    def __init__(
        self,
        *,
        methods: Sequence[str],
        unknown_method: str,
        server_id: str,
        max_message_bytes: int,
        max_answer_bytes: int,
        max_streams: int,
        max_connections: int,
        max_arriving: int,
        max_arriving_a_place: int,
        message_timeout_s: float,
        handle: Callable[[Call], tuple[int, str, list[tuple[str, str]], bytes]],
        look: Callable[[str, Call], tuple[int, str, list[tuple[str, str]]] | None] | None,
        starved: Callable[[], None],
        refusals: Sequence[tuple[int, str, list[tuple[str, str]]]],
        bounds_s: Sequence[float],
        max_keys: int,
        most_at_once: int,
        unconfirmed: Callable[[Call, JournalEntry], tuple[int, str, list[tuple[str, str]], bytes]],
        passes: tuple[DedupWindow, MutationGate, JournalQueue, Authors, int],
    ) -> None: ...
    def set_tables(
        self, tables: Sequence[tuple[str, RowTable, StepCounter | None, bool, int, int, MutationLock, int, bool]]
    ) -> None:
        """The tables that calls may be answered of without the interpreter.

        Each is its name, its rows, its steps (None: it is read alone), whether this shard has all of its buckets, the
        first bucket that it has, the one behind the last, its lock, its id, and whether the journal has its mutations.
        """
    def set_room(self, room: int) -> None:
        """How many bytes new rows of pushes may take; negative, as at first: all pushes go to `handle`."""
    def open_plain(self) -> None:
        """From now on plain reads and pushes of those tables are answered without the interpreter."""
    def close_plain(self) -> None:
        """From now on none is; returns once none is under way."""
    def plain_times(self) -> list[tuple[list[int], float]]:
        """Of Pull, Lookup and Push: how many took up to each of `bounds_s`, and longer; seconds of all."""
    def listen(self, host: str, port: int) -> str:
        """Listens on a numeric address; returns HOST:PORT. Raises OSError."""
    def listen_unix(self, path: str) -> str:
        """Listens on a unix socket; returns unix:PATH. Raises OSError."""
    def serve(self) -> None:
        """What each thread runs; returns after `stop`."""
    @property
    def unfinished(self) -> int:
        """Calls that arrive, wait or are worked on, and connections with something left to write."""
    @property
    def refused(self) -> list[int]:
        """How many calls were refused, by reason, in the order of `refusals`."""
    def sweep(self) -> None:
        """Ends requests that take too long to arrive, and connections whose peers read nothing. To be called often."""
    def say_goodbye(self) -> None:
        """Takes no new connections, and tells all peers to begin no more calls."""
    def stop(self) -> None:
        """Ends all connections and lets threads return from `serve`."""
