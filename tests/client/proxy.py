"""A loopback TCP proxy that can lose what passes through it, and cut."""

from __future__ import annotations

import contextlib
import socket
import threading
from types import TracebackType


class Proxy:
    """Forwards connections to `upstream` ("host:port") until it is told otherwise.

    Attributes:
        target: its own address.
        lose_answers: what the server sends is dropped, so that requests arrive and their answers do not.
        lose_requests: what the client sends is dropped.
        accepted: connections taken so far.
    """

    def __init__(self, upstream: str) -> None:
        host, port = upstream.rsplit(":", 1)
        self._upstream = (host, int(port))
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._sockets: list[socket.socket] = []
        self._lock = threading.Lock()
        self.target = f"127.0.0.1:{self._listener.getsockname()[1]}"
        self.lose_answers = False
        self.lose_requests = False
        self.accepted = 0
        self._threads = [threading.Thread(target=self._accept)]
        self._threads[0].start()

    def __enter__(self) -> Proxy:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self.cut()
        for thread in self._threads:
            thread.join()

    def cut(self) -> None:
        """Closes every connection; new ones are taken."""
        with self._lock:
            sockets, self._sockets = self._sockets, []
        for each in sockets:
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
            each.close()

    def _accept(self) -> None:
        while True:
            try:
                near, _ = self._listener.accept()
            except OSError:
                return
            far = socket.create_connection(self._upstream)
            with self._lock:
                self._sockets += [near, far]
                self.accepted += 1
            for source, sink, losing in ((near, far, "lose_requests"), (far, near, "lose_answers")):
                thread = threading.Thread(target=self._pump, args=(source, sink, losing))
                self._threads.append(thread)
                thread.start()

    def _pump(self, source: socket.socket, sink: socket.socket, losing: str) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                if not getattr(self, losing):
                    sink.sendall(data)
        for each in (source, sink):
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
