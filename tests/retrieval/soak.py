"""What `test_steady` does, for longer: `python -m tests.retrieval.soak`. Prints what came of it as JSON."""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import httpx
from tests.processes import PsProcess
from tests.retrieval.steady import Edition, Tally, activate_in_turn, change_items, load
from tests.retrieval.support import ApiProcess, serving, until

import rowbank
from rowbank_server.redis_supervisor import EmbeddedRedis

MODEL = "soak"


def report(tally: Tally, seconds: float) -> dict[str, Any]:
    """Ready for JSON; the first faults are named."""
    return {
        "seconds": round(seconds, 1),
        "answers": tally.total,
        "answers_by_version": dict(sorted(tally.answers.items())),
        "failed": len(tally.failed),
        "mixed_or_wrong": len(tally.wrong),
        "p50_ms": round(tally.percentile_ms(50), 2),
        "p99_ms": round(tally.percentile_ms(99), 2),
        "first_faults": (tally.failed + tally.wrong)[:3],
    }


def activations(api: ApiProcess, editions: dict[str, Edition], times: int, threads: int) -> dict[str, Any]:
    """Activates versions in turn under load, each once a hundred answers came from the one before."""
    started = time.monotonic()
    with httpx.Client(base_url=api.url, timeout=60) as http, load(api.url, editions, threads=threads) as tally:
        seen = [0]

        def hundred_more() -> bool:
            if tally.total < seen[0] + 100:
                return False
            seen[0] = tally.total
            return True

        activate_in_turn(http, list(editions), times, until=hundred_more)
    return {"activations": times, **report(tally, time.monotonic() - started)}


def changes(
    api: ApiProcess, edition: Edition, client: rowbank.Client, rate: float, seconds: float, threads: int
) -> dict[str, Any]:
    """Changes items under load, and says how long the last change took to be found."""

    def titled(item: int, turn: int) -> str:
        return f"{edition.titles[item].rpartition(' ')[0]} round{turn} {edition.version}"

    items, started = list(edition.titles), time.monotonic()
    with httpx.Client(base_url=api.url, timeout=60) as http:
        http.post(f"/v1/models/{edition.version}/activate").raise_for_status()
        serving(http, edition.version)
        with load(api.url, {edition.version: edition}, threads=threads) as tally:
            written = change_items(client, f"{MODEL}_items", items, titled, rate=rate, seconds=seconds)
            took = time.monotonic() - started
            last, turn = items[(written - 1) % len(items)], int(seconds * 10) - 1
            wrote = time.monotonic()
            similar = {"item_ids": [items[0]], "k": len(items)}

            def found() -> bool:
                answer = http.post("/v1/similar", json=similar).json()
                titles = {item["id"]: item["title"] for item in answer["items"]}
                return f"round{turn}" in titles.get(last, "")

            until(found)
            found_s = time.monotonic() - wrote
    return {
        "changes": written,
        "changes_per_second": round(written / took),
        "last_change_found_after_s": round(found_s, 2),
        **report(tally, time.monotonic() - started),
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--activations", type=int, default=20)
    parser.add_argument("--rate", type=float, default=1000.0, help="item changes a second")
    parser.add_argument("--seconds", type=float, default=60.0, help="of item changes")
    parser.add_argument("--items", type=int, default=900)
    parser.add_argument("--threads", type=int, default=4)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, EmbeddedRedis(Path(folder) / "redis") as redis:
        ps = PsProcess("--namespace", "soak", redis_url=redis.url, log=Path(folder) / "ps.log").wait_ready()
        with rowbank.Client(ps.target) as client:
            sizes = {"item_count": asked.items, "user_count": 200}
            editions = {f"v{number}": Edition(MODEL, number, **sizes) for number in (1, 2, 3)}
            editions["v1"].create_tables(client)
            for edition in editions.values():
                edition.publish(client, edition.version, activate=edition.version == "v1")
            log = Path(folder) / "api.log"
            api = ApiProcess("--model", MODEL, redis_url=redis.url, target=ps.target, namespace="soak", log=log)
            api.wait_ready()
            with httpx.Client(base_url=api.url, timeout=60) as http:
                serving(http, "v1")
            found = {
                "versions": activations(api, editions, asked.activations, asked.threads),
                "items": changes(api, editions["v1"], client, asked.rate, asked.seconds, asked.threads),
            }
            status = api.terminate()
        ps.close()
    sys.stdout.write(json.dumps(found, indent=2) + "\n")
    clean = all(part["failed"] == part["mixed_or_wrong"] == 0 for part in found.values())
    return 0 if clean and status == 0 else 1


if __name__ == "__main__":
    sys.exit(main())
