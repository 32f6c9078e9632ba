"""The HTTP port of a shard's process, from before it loads until after it has drained."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator

from rowbank_server.ps.http.app import Served, create_app
from rowbank_server.web.thread import HttpThread

_log = logging.getLogger("rowbank.ps")


@contextlib.contextmanager
def shown(address: str, served: Served) -> Iterator[str]:
    """Shows `served` at `address`; yields the URL, or "" where the address is empty.

    Raises:
        StartError: it cannot be listened on.
    """
    if not address:
        yield ""
        return
    server = HttpThread(create_app(served))
    url = server.start("http_bind", address)
    _log.info("metrics at %s/metrics, the page at %s/ui", url, url)
    try:
        yield url
    finally:
        server.stop()
