"""What a failed call raises that was not made by gRPC's own client."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import grpc

Metadata = Sequence[tuple[str, str | bytes]]


class CallError(grpc.RpcError):
    """A call that failed, with what gRPC says of one."""

    def __init__(self, code: grpc.StatusCode, details: str, metadata: Metadata = ()) -> None:
        super().__init__(details)
        self._code, self._details, self._metadata = code, details, tuple(metadata)

    def code(self) -> grpc.StatusCode:
        """The status."""
        return self._code

    def details(self) -> str:
        """Its text."""
        return self._details

    def trailing_metadata(self) -> Any:
        """What came with it."""
        return self._metadata
