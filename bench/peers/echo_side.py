"""A client that sends and gets as many bytes as a pull or push has, over gRPC, and nothing is done with them."""

from __future__ import annotations

import grpc

from .lines import serve
from .work import Work


def main() -> None:
    """Asks the echo server, which answers as many bytes as the request's first eight say."""
    work = Work.given()
    channel = grpc.insecure_channel(work.server["target"], options=[tuple(one) for one in work.server["options"]])
    echo = channel.unary_unary("/bench.Echo/Answer", None, None)
    key_bytes, row_bytes = 8 * work.batch * len(work.tables), 4 * work.dim * work.batch * len(work.tables)
    status_bytes = work.batch * len(work.tables)
    asked = (row_bytes + status_bytes).to_bytes(8, "little") + bytes(key_bytes - 8)
    pushed = (16).to_bytes(8, "little") + bytes(key_bytes + row_bytes - 8)

    def step(number: int) -> None:
        echo(asked)
        echo(pushed)

    serve({"pull": lambda number: echo(asked), "push": lambda number: echo(pushed), "step": step}, lambda keys: [])


if __name__ == "__main__":
    main()
