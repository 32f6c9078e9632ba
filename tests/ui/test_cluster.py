"""The page of one shard shows all of them, as far as they can be reached."""

from __future__ import annotations

import httpx
import numpy as np
from tests.processes import until

from rowbank import SGD, Client, TableSpec


def told(url: str) -> dict:
    return httpx.get(f"{url}/ui/data/overview", timeout=30).json()


def rows_of(url: str) -> int:
    return httpx.get(f"{url}/ui/data/table", params={"name": "t"}).json()["stats"]["rows"]


def test_all_shards_are_shown_and_their_tables_added_up(start_ps):
    shards = [start_ps("--shard", f"{index}/2", "--http-bind", "127.0.0.1:0") for index in range(2)]
    with Client([shard.target for shard in shards]) as client:
        client.create_table(TableSpec("t", dim=2, optimizer=SGD(1.0))).push(np.arange(100), np.ones((100, 2), "f4"))
        own = [
            httpx.get(f"{one.http_url}/ui/data/table", params={"name": "t"}).json()["stats"]["rows"] for one in shards
        ]
    assert sum(own) == 100
    assert min(own) > 0
    for shard in shards:
        until(lambda: [one["rows"] for one in told(shard.http_url)["tables"]] == [100], what="both shards")  # noqa: B023
        seen = told(shard.http_url)["shards"]
        assert [[one["address"] for one in shown["processes"]] for shown in seen] == [[one.target] for one in shards]
        assert {one["state"] for shown in seen for one in shown["processes"]} == {"serving"}
    shards[1].kill()
    until(lambda: any(shown["problem"] for shown in told(shards[0].http_url)["shards"]), what="the loss")
    seen = told(shards[0].http_url)
    assert seen["shards"][1]["problem"]
    assert [one["rows"] for one in seen["tables"]] == [own[0]]


def test_a_standby_shows_itself_and_its_owner(start_ps):
    owner = start_ps("--standby", "--http-bind", "127.0.0.1:0")
    standby = start_ps("--standby", "--http-bind", "127.0.0.1:0")

    def roles() -> list[tuple[str, str]]:
        (shard,) = told(standby.http_url)["shards"] or [{"processes": []}]
        return [(one["role"], one["state"]) for one in shard["processes"]]

    until(lambda: roles() == [("owner", "serving"), ("standby", "following")], what="both")
    process = told(standby.http_url)["process"]
    assert process["not_ready"] == f"standby: following; the owner is at {owner.target}"


def test_redis_that_is_away_is_said_and_the_rest_is_shown(start_ps, own_redis):
    server = start_ps("--http-bind", "127.0.0.1:0", "--redis-timeout-s", "1", redis=own_redis.url)
    with Client(server.target) as client:
        client.create_table(TableSpec("t", dim=2, optimizer=SGD(1.0))).push(np.arange(9), np.ones((9, 2), "f4"))
    until(lambda: told(server.http_url)["process"]["redis_used_bytes"], what="Redis's memory")
    own_redis.stop()
    until(lambda: not told(server.http_url)["process"]["redis_connected"], what="the loss")
    until(lambda: {one["what"] for one in told(server.http_url)["problems"]} >= {"evictions"}, what="what is not known")
    seen = told(server.http_url)
    assert [one["rows"] for one in seen["tables"]] == [9]
    assert seen["shards"][0]["processes"][0]["role"] == "owner"
