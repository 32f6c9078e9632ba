"""How addresses are read: the same way by clients, by the command line and by servers' settings."""

from __future__ import annotations

import logging

import pytest

from rowbank import addresses, variables
from rowbank.addresses import AddressError, alternatives_of, parse_target, parse_targets, split_address
from rowbank.calls import connect
from rowbank.errors import InvalidRequest
from rowbank.retrieval import connecting


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("127.0.0.1", "127.0.0.1:7700"),
        ("localhost", "localhost:7700"),
        ("host-1.shop.example", "host-1.shop.example:7700"),
        (" host:1 ", "host:1"),
        ("host:65535", "host:65535"),
        ("[::1]", "[::1]:7700"),
        ("[fe80::1]:9", "[fe80::1]:9"),
        ("unix:/run/rowbank.sock", "unix:/run/rowbank.sock"),
        ("unix:///run/rowbank.sock", "unix:///run/rowbank.sock"),
    ],
)
def test_a_target_is_read_in_full(written, meant):
    assert parse_target(written) == meant


@pytest.mark.parametrize(
    ("written", "hint"),
    [
        ("host:0", "0 is no such port"),
        ("host:65536", "65536 is no such port"),
        ("host:99999", "99999 is no such port"),
        ("host:-1", "-1 is no such port"),
        ("host:", "the port is missing"),
        (":7700", "the host is missing"),
        ("7700", "write 127.0.0.1:7700"),
        ("http://host:7700/v1", "leave out http:// and write host:7700"),
        ("grpc://host", "leave out grpc:// and write host"),
        ("::1", r"in brackets: \[::1\]:7700"),
        ("::1:80", r"in brackets: \[::1\]:80"),
        ("[::1", "expected HOST:PORT"),
        ("[nothing]:1", "is no IPv6 address"),
        ("300.1.1.1:1", "is no IPv4 address"),
        ("user@host:1", "expected HOST:PORT"),
        ("host:1/path", "expected HOST:PORT"),
        ("a b:1", "expected HOST:PORT"),
        ("host:७७०", "no such port"),
        ("unix:", "expected unix:PATH"),
    ],
)
def test_what_is_no_target_says_what_to_write(written, hint):
    with pytest.raises(AddressError, match=hint) as error:
        parse_target(written)
    assert repr(written) in str(error.value)


def test_targets_are_distinct_and_none_is_empty():
    assert parse_targets("a, b:1") == parse_targets(["a:7700", "b:1"]) == ["a:7700", "b:1"]
    for written in ("", ",", "a,", "a,,b", [], [""], [7700]):
        with pytest.raises(AddressError, match="expected distinct addresses"):
            parse_targets(written)
    with pytest.raises(AddressError, match="got 'a:7700' more than once"):
        parse_targets("a,a:7700")


def test_a_shard_may_have_several_addresses():
    written = "a|b:1, c"
    assert parse_targets(written) == parse_targets(["a:7700 | b:1", "c:7700"]) == ["a:7700|b:1", "c:7700"]
    assert [alternatives_of(one) for one in parse_targets(written)] == [["a:7700", "b:1"], ["c:7700"]]
    assert alternatives_of("unix:/run/rowbank.sock") == ["unix:/run/rowbank.sock"]


@pytest.mark.parametrize("written", ["a||b", "|a", "a|", "a,b|", "a| |b"])
def test_each_alternative_is_an_address(written):
    with pytest.raises(AddressError, match=r"expected an address on both sides of each \|, such as 'a:7700\|b:7700'"):
        parse_targets(written)


@pytest.mark.parametrize("written", ["a|a", "a|b,b|c", "a,b|a:7700"])
def test_no_address_stands_twice_among_the_alternatives(written):
    with pytest.raises(AddressError, match="more than once"):
        parse_targets(written)


def test_retrieval_services_have_no_alternatives():
    with pytest.raises(InvalidRequest, match=r"targets: expected addresses separated by commas, got 'a\|b'"):
        connecting.parse_targets("a|b")


def test_an_address_to_listen_on_has_a_port():
    assert split_address("[::1]:0") == ("[::1]", 0)
    with pytest.raises(AddressError, match="the port is missing"):
        split_address("127.0.0.1")
    assert split_address("127.0.0.1", default_port=addresses.API_PORT) == ("127.0.0.1", 7780)


def test_what_is_wrong_with_the_variable_names_the_variable(monkeypatch):
    monkeypatch.setenv("ROWBANK_TARGETS", "host:70000")
    with pytest.raises(InvalidRequest, match=r"^variable ROWBANK_TARGETS: expected HOST:PORT.*'host:70000'"):
        connect.parse_targets(None)


def test_a_misspelt_variable_is_warned_of_once(monkeypatch, caplog):
    """A server's, or a deployment's own, are not a client's business."""
    monkeypatch.delenv("ROWBANK_TARGETS", raising=False)
    for name in ("ROWBANK_TARGET", "ROWBANK_PS_TARGET", "ROWBANK_DEPLOYED_BY"):
        monkeypatch.setenv(name, "host:1")
    monkeypatch.setattr(variables, "_warned", set())
    with caplog.at_level(logging.WARNING, "rowbank"):
        assert connect.parse_targets(None) == connect.parse_targets(None) == ["127.0.0.1:7700"]
    assert caplog.messages == ["variable ROWBANK_TARGET is not known and has no effect; did you mean ROWBANK_TARGETS?"]
