"""Fixtures of the native endpoint's tests: those of the server's tests."""

import importlib.util

from tests.server.conftest import connect, wire

__all__ = ["connect", "wire"]

if importlib.util.find_spec("rowbank_server._http2") is None:  # Built where nghttp2 is not: there is nothing to test.
    collect_ignore_glob = ["test_*.py"]
