"""One HTTP/2 connection to a gRPC server, for one unary call at a time; there where the client was built with nghttp2.

Not thread-safe, but for `stop`. What waits does so without the interpreter's lock, and looks ten times a second whether
a signal came.
"""

from collections.abc import Sequence

class Line:
    """A connection; made by connecting to HOST:PORT, numeric, or unix:PATH.

    Raises:
        OSError: nobody who speaks HTTP/2 answers there within `timeout_s`.
    """

    def __init__(self, address: str, *, max_message_bytes: int, timeout_s: float) -> None: ...
    def usable(self) -> bool:
        """Whether another call may be made: no call is under way, and the server has not closed the connection."""
    def start(
        self,
        path: str,
        authority: str,
        metadata: Sequence[tuple[str, str]],
        timeout: str,
        parts: Sequence[bytes | memoryview],
        timeout_s: float,
    ) -> bool:
        """Writes a request whose message are `parts`, joined. False: not all within `timeout_s`, or stopped.

        Args:
            metadata: as it goes on the wire.
            timeout: as `grpc-timeout` has it; empty: none.
        """
    def finish(self, timeout_s: float) -> bool:
        """Reads the answer. False: it is not here within `timeout_s`, or the call was stopped; may be called again."""
    def take(self) -> tuple[str, int, str, list[tuple[str, str]], bytes | None]:
        """How the call ended, once `finish` said so.

        Returns:
            "answered", "unsent" (the server has not worked on it and will not) or "lost" (nobody knows); if answered,
            the status's number; its text, or what went wrong; trailers as they came; the message, if the status is 0.
        """
    def stop(self) -> None:
        """Lets the call under way, and all later ones, end at once. From any thread."""
    def abandon(self) -> None:
        """Closes this process's end without a word to the server."""
    def disown(self) -> None:
        """The same in a forked child, for a connection that was in the middle of a call in the parent."""
