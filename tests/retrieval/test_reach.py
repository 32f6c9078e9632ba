"""A retrieval service that waits for its parameter server says so, and notices when it comes and goes."""

from __future__ import annotations

from typing import Any

import httpx
from tests.retrieval.support import ApiProcess, until


def test_readiness_names_one_that_is_away(redis_url: str, namespace: str, tmp_path: Any) -> None:
    target = "127.0.0.1:1"  # Nothing listens there.
    api = ApiProcess(redis_url=redis_url, target=target, namespace=namespace, log=tmp_path / "log")
    try:
        api.wait_ready()
        problem = "the parameter server cannot be reached: cannot connect to 127.0.0.1:1: connection refused"
        until(lambda: problem in httpx.get(f"{api.url}/readyz").text)
        assert httpx.get(f"{api.url}/readyz").status_code == 503
        assert httpx.get(f"{api.url}/healthz").status_code == 200
        assert api.log.count(problem) == 1
    finally:
        api.close()


def test_one_that_comes_back_is_noticed(start_ps: Any, redis_url: str, namespace: str, tmp_path: Any) -> None:
    shard = start_ps()
    api = ApiProcess(redis_url=redis_url, target=shard.target, namespace=namespace, log=tmp_path / "log")
    try:
        api.wait_ready()
        ready = f"{api.url}/readyz"
        until(lambda: "no active version" in httpx.get(ready).text and "cannot be reached" not in httpx.get(ready).text)
        shard.terminate()
        until(lambda: "cannot be reached" in httpx.get(ready).text)
        start_ps("--bind", shard.target)
        until(lambda: "cannot be reached" not in httpx.get(ready).text)
        assert "the parameter server can be reached" in api.log
    finally:
        api.close()
