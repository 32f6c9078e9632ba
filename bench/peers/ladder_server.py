"""A server of one rung of the ladder from an echo to the product: `{"layer": ..., "rows", "dim", "options"}`."""

from __future__ import annotations

import json
import socket
import sys
from collections.abc import Callable
from concurrent import futures
from typing import Any

import grpc
import numpy as np

from rowbank_protos.v1 import rows_pb2

METHOD = "/bench.Ladder/Pull"
_NOW = 1_700_000_000


def main() -> None:
    """Prints its address, then answers until it is ended."""
    told = json.loads(sys.argv[1])
    answer = _answers(told)[told["layer"]]
    if told["layer"] == "core over TCP":
        _serve_tcp(answer)
    service, method = METHOD.strip("/").split("/")
    handler = grpc.method_handlers_generic_handler(
        service, {method: grpc.unary_unary_rpc_method_handler(lambda request, context: answer(request))}
    )
    server = grpc.server(futures.ThreadPoolExecutor(4), options=[tuple(one) for one in told["options"]])
    server.add_generic_rpc_handlers((handler,))
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    print(f"ready ladder 127.0.0.1:{port}", flush=True)
    server.wait_for_termination()


def _answers(told: dict[str, Any]) -> dict[str, Callable[[bytes], Any]]:
    """Layer -> what it makes of the keys, or of a request for a pull."""
    rows, dim, layer = int(told["rows"]), int(told["dim"]), str(told["layer"])
    ready: dict[int, bytes] = {}
    values = np.random.default_rng(7).standard_normal((rows, dim), dtype=np.float32)
    table = _table(values) if "core" in layer else None

    def size_of(request: bytes) -> int:
        return len(request) // 8 * (dim * 4 + 1)

    def echo(request: bytes) -> bytes:
        return ready.setdefault(size_of(request), bytes(size_of(request)))

    def fresh(request: bytes) -> bytes:
        return b"\1" * size_of(request)

    def take(request: bytes) -> bytes:
        keys = np.frombuffer(request, "<i8")
        found: bytes = np.take(values, keys, axis=0).tobytes()
        return found + bytes(len(keys))

    def core(request: bytes) -> bytes:
        out, status = _pulled(table, np.frombuffer(request, "<i8"), dim)
        return bytes(out.tobytes() + status.tobytes())

    def core_and_protobuf(request: bytes) -> bytes:
        asked = rows_pb2.PullRequest.FromString(request)
        answer = rows_pb2.PullResponse()
        for part in asked.tables:
            out, status = _pulled(table, np.frombuffer(part.keys, "<i8"), dim)
            answer.tables.add(table=part.table, values=out.tobytes(), status=status.tobytes())
        return answer.SerializeToString()

    return {
        "echo": echo,
        "fresh buffer": fresh,
        "numpy.take": take,
        "core": core,
        "core and protobuf": core_and_protobuf,
        "core over TCP": lambda request: _pulled(table, np.frombuffer(request, "<i8"), dim),
    }


def _table(values: Any) -> Any:
    from rowbank_server import _core

    table = _core.RowTable(
        name="ladder", dim=values.shape[1], value_dtype="float32", initializer=_core.Initializer("zeros"),
        optimizer=_core.Optimizer("adagrad", learning_rate=0.1), bucket_count=256,
    )  # fmt: skip
    for start in range(0, len(values), 65_536):
        part = values[start : start + 65_536]
        table.upsert(np.arange(start, start + len(part)), part, now=_NOW)
    return table


def _pulled(table: Any, keys: Any, dim: int) -> tuple[Any, Any]:
    out, status = np.empty((len(keys), dim), np.float32), np.empty(len(keys), np.uint8)
    table.pull(keys, out, status, now=_NOW)
    return out, status


def _serve_tcp(answer: Callable[[bytes], Any]) -> None:
    """Eight bytes say how many the request has; values and status are the answer."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        print(f"ready ladder 127.0.0.1:{listening.getsockname()[1]}", flush=True)
        connection, _ = listening.accept()
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        while size := connection.recv(8, socket.MSG_WAITALL):
            request = connection.recv(int.from_bytes(size, "little"), socket.MSG_WAITALL)
            out, status = answer(request)
            connection.sendall(out.data.cast("B"))
            connection.sendall(status.data)
    sys.exit(0)


if __name__ == "__main__":
    main()
