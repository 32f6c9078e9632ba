"""A client of one rung of the ladder: gRPC or TCP, and nothing of the product's client."""

from __future__ import annotations

import socket
from collections.abc import Callable
from typing import Any

import grpc
import numpy as np

from rowbank_protos.v1 import rows_pb2

from .lines import serve
from .work import Work


def main() -> None:
    """Asks for rows by their keys alone, or as the product's requests do ("message")."""
    work = Work.given()
    batches = work.batches()
    messages = [batch.astype("<i8").tobytes() for batch in batches]
    if work.server["message"]:
        messages = [
            rows_pb2.PullRequest(tables=[rows_pb2.TableKeys(table=work.tables[0], keys=keys)]).SerializeToString()
            for keys in messages
        ]
    ask: Callable[[bytes], Any]
    if work.server["transport"] == "tcp":
        ask = _over_tcp(work)
    else:
        options = [tuple(one) for one in work.server["options"]]
        ask = grpc.insecure_channel(work.server["target"], options=options).unary_unary(
            work.server["method"], None, None
        )
    whole = work.batch * (work.dim * 4 + 1)
    if (size := len(ask(messages[0]))) < whole:
        raise RuntimeError(f"an answer has {size} bytes, its rows have {whole}")
    serve({"pull": lambda number: ask(messages[number])}, lambda keys: [])


def _over_tcp(work: Work) -> Callable[[bytes], Any]:
    host, _, port = work.server["target"].rpartition(":")
    connection = socket.create_connection((host, int(port)))
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    size = work.batch * (work.dim * 4 + 1)

    def ask(request: bytes) -> memoryview:
        connection.sendall(len(request).to_bytes(8, "little") + request)
        answer = np.empty(size, np.uint8).data
        at = 0
        while at < size:
            got = connection.recv_into(answer[at:])
            if not got:
                raise RuntimeError("the server is gone")
            at += got
        return answer

    return ask


if __name__ == "__main__":
    main()
