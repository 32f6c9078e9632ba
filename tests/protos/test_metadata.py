"""Metadata on the wire, beside Python's own base64."""

from __future__ import annotations

import base64

import pytest

from rowbank_protos.metadata import from_wire, to_wire


@pytest.mark.parametrize("data", [b"", b"a", b"ab", b"abc", bytes(range(256))])
def test_bytes_travel_in_base64_without_padding(data):
    name, text = to_wire(("k-bin", data))
    assert (name, text) == ("k-bin", base64.b64encode(data).decode().rstrip("="))
    assert from_wire(("k-bin", text)) == ("k-bin", data)
    assert from_wire(("k-bin", base64.b64encode(data).decode())) == ("k-bin", data)


def test_texts_stay_and_what_is_no_base64_is_empty():
    assert to_wire(("k", "v")) == from_wire(("k", "v")) == ("k", "v")
    assert to_wire(("k", b"\xe4")) == ("k", "\xe4")
    assert to_wire(("k-bin", "text")) == ("k-bin", base64.b64encode(b"text").decode().rstrip("="))
    assert from_wire(("k-bin", "\u00e4")) == ("k-bin", b"")
