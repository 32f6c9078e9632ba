"""What a start of the retrieval service refuses before anything else."""

from __future__ import annotations

import sys

import pytest

from rowbank_server.retrieval.starting import connect
from rowbank_server.settings import ApiSettings, SettingsError, load

NOBODY = "redis://127.0.0.1:1/0"


def test_without_a_redis_nothing_starts() -> None:
    with pytest.raises(SettingsError, match=r"setting redis \(ROWBANK_REDIS\): expected a URL"):
        connect(load(ApiSettings, {}))


def test_an_open_address_needs_permission() -> None:
    with pytest.raises(SettingsError, match="bind"):
        connect(load(ApiSettings, {"redis": NOBODY, "bind": "0.0.0.0:7780"}))


def test_an_index_of_a_package_that_is_not_there_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "faiss", None)
    with pytest.raises(
        SettingsError, match=r"setting index_kind \(ROWBANK_API_INDEX_KIND\).*install rowbank-server\[faiss\]"
    ):
        connect(load(ApiSettings, {"redis": NOBODY, "index_kind": "faiss"}))
