"""Fixtures of the native endpoint's tests: those of the server's tests."""

from tests.server.conftest import connect, wire

__all__ = ["connect", "wire"]
