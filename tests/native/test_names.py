"""Names become numbers in time, or not at all: a name service that says nothing holds no call up."""

from __future__ import annotations

import socket
import threading
import time

import pytest
from tests.native.test_lines import TARGET, Text, echo, lines_to, unary

from rowbank.calls.native import names
from rowbank.calls.native.names import numbers

__all__ = ["echo", "unary"]

LONG_S = 60.0


@pytest.fixture
def mute_names(monkeypatch):
    """The system says nothing of names until the event is set; and what it was asked."""
    answer, asked = threading.Event(), []

    def mute(host, *args, **more):
        asked.append(host)
        answer.wait(LONG_S)
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", 0))]

    monkeypatch.setattr(socket, "getaddrinfo", mute)
    yield answer, asked
    answer.set()


@pytest.mark.parametrize(("host", "number"), [("10.0.0.1", "10.0.0.1"), ("[::1]", "::1"), ("fe80::1%lo",) * 2])
def test_numbers_stand_for_themselves(mute_names, host, number):
    assert numbers(host, 1.0) == [number]
    assert mute_names[1] == []


def test_names_are_asked_for():
    assert "127.0.0.1" in numbers("localhost", LONG_S) or "::1" in numbers("localhost", LONG_S)
    with pytest.raises(OSError, match=r"."):
        numbers("no-such-host.invalid", LONG_S)
    with pytest.raises(OSError, match=r"."):
        numbers("a" * 100, LONG_S)  # No label of a name is so long.


def test_a_name_service_that_says_nothing_is_asked_once(mute_names):
    answer, asked = mute_names
    for _ in range(3):
        with pytest.raises(TimeoutError, match=r"has not said within 0\.01 s"):
            numbers("somewhere", 0.01)
    assert asked == ["somewhere"]
    answer.set()
    assert numbers("somewhere", LONG_S) == ["127.0.0.1"]
    assert names._lookups == {}


def test_calls_do_not_wait_for_names(unary, mute_names):
    answer, _ = mute_names
    began = time.monotonic()
    call, lines = unary("Echo", lines_to("somewhere:1"))
    assert call(Text(b"x"), timeout=LONG_S) == b"x"
    lines.learn("127.0.0.1:1", "new", ["elsewhere:7700"])
    assert lines.address == ""
    assert "has not said" in lines.why_not
    assert time.monotonic() - began < LONG_S / 2
    answer.set()
    assert numbers("elsewhere", LONG_S)
    lines.learn("127.0.0.1:1", "new", ["elsewhere:7700"])  # It is looked at again, as the first time said nothing.
    assert lines.address == "127.0.0.1:1"
    lines.close()


def test_why_an_endpoint_is_not_used():
    lines = lines_to("")
    assert lines.why_not == "the server has none"
    lines.learn("127.0.0.1:1", "id", ["127.0.0.1:1234"])
    assert f"is reached at 127.0.0.1:1234, and not at {TARGET}: something is in between" in lines.why_not
    lines.learn("127.0.0.1:1", "new", [TARGET])
    assert lines.why_not == ""
    lines.forget("new")
    assert lines.why_not == "another process answers there"
