"""A gRPC server that answers as many bytes as the first eight bytes of the request say: the bound of gRPC in Python."""

from __future__ import annotations

import json
import sys
from concurrent import futures

import grpc


def main() -> None:
    """Prints its address, then serves until it is ended."""
    ready: dict[int, bytes] = {}

    def answer(request: bytes, context: grpc.ServicerContext) -> bytes:
        size = int.from_bytes(request[:8], "little")
        if size not in ready:
            ready[size] = bytes(size)
        return ready[size]

    handler = grpc.method_handlers_generic_handler(
        "bench.Echo", {"Answer": grpc.unary_unary_rpc_method_handler(answer)}
    )
    options = [tuple(one) for one in json.loads(sys.argv[1])]
    server = grpc.server(futures.ThreadPoolExecutor(4), options=options)
    server.add_generic_rpc_handlers((handler,))
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    print(f"ready echo 127.0.0.1:{port}", flush=True)
    server.wait_for_termination()


if __name__ == "__main__":
    main()
