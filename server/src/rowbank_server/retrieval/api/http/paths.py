"""Paths that end in an id: what is percent-encoded in them belongs to the id, slashes too."""

from __future__ import annotations

from urllib.parse import unquote_to_bytes

from starlette.routing import Match, Route
from starlette.types import Scope

from rowbank.errors import InvalidRequest


class EncodedRoute(Route):
    """A route that is matched by the path as it came, so that its parameters are still encoded; see `decoded`."""

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        """As of `Route`."""
        raw = scope.get("raw_path")
        if scope["type"] == "http" and raw:
            scope = {**scope, "path": raw.decode("latin-1")}
        return super().matches(scope)


def decoded(parameter: str) -> str:
    """A parameter of an `EncodedRoute` as its caller meant it.

    Raises:
        InvalidRequest: it is not UTF-8.
    """
    data = unquote_to_bytes(parameter.encode("latin-1"))
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        raise InvalidRequest(
            f"the id in the path: expected UTF-8, percent-encoded, got {parameter[:40]!r}", metadata={"field": "id"}
        ) from None
