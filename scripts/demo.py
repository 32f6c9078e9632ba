"""The main job from end to end on this machine: serve, train, publish, recommend.

Starts `rowbank up` on free ports with a data folder of its own, trains the two-tower model with static tables and with
Rowbank's, restricting the latter, publishes the model and asks for recommendations over HTTP. Stops what it started;
with `--keep` only after Ctrl-C, so that the page at /demo can be looked at.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import re
import signal
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
READY = re.compile(r"ready rowbank-up grpc=(?P<grpc>\S+) http=(?P<http>\S+)")
ACTIVATION_TIMEOUT_S = 60.0
USERS = 3
ITEMS = 10


def main() -> int:
    """Runs the demo; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, help="folder of a MovieLens data set, 100k or 1M layout")
    parser.add_argument("--out", type=Path, default=ROOT / "out" / "demo", help="folder for metrics and plots")
    parser.add_argument("--keep", action="store_true", help="leave the servers running until Ctrl-C")
    arguments = parser.parse_args()
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="rowbank-demo-") as folder, server(Path(folder)) as (grpc, http):
        train(grpc, arguments.data, arguments.out)
        say("tables on the parameter server")
        command("rowbank", "tables", "--target", grpc)
        say("evictions")
        command("rowbank", "evictions", "--target", grpc)
        say(f"recommendations over HTTP from {http}")
        wait_until_ready(http)
        for user in range(1, USERS + 1):
            print_recommendations(http, user)
        look_at(f"{http}/demo?user=1", keep=arguments.keep)
        say("stopping")
    print(f"done in {time.monotonic() - began:.0f} s; metrics and plots are in {arguments.out}")
    return 0


def say(title: str) -> None:
    """Prints a heading."""
    print(f"\n== {title}", flush=True)


def command(name: str, *arguments: str) -> None:
    """Runs a command of this environment to its end; where it fails, it has said why, and we end with its code."""
    code = subprocess.run([str(Path(sys.executable).parent / name), *arguments], check=False).returncode
    if code != 0:
        raise SystemExit(code)


@contextlib.contextmanager
def server(folder: Path) -> Iterator[tuple[str, str]]:
    """Runs `rowbank up` while the block runs; yields the addresses for gRPC and HTTP."""
    say("starting Redis, parameter server and retrieval service")
    log = (folder / "up.log").open("w+")
    binds = ["--grpc-bind", "127.0.0.1:0", "--http-bind", "127.0.0.1:0", "--retrieval-grpc-bind", "127.0.0.1:0"]
    binds += ["--ps-http-bind", "127.0.0.1:0"]
    up = [sys.executable, "-m", "rowbank.cli", "up", "--data-dir", str(folder / "data"), *binds]
    process = subprocess.Popen(up, stdout=subprocess.PIPE, stderr=log, text=True)
    try:
        assert process.stdout is not None
        line = process.stdout.readline()  # One line, or nothing when the process has ended.
        ready = READY.match(line)
        if ready is None:
            log.seek(0)
            raise SystemExit(f"error: rowbank up did not start: {line.strip()}\n{log.read()}")
        print(line.strip())
        yield ready["grpc"], ready["http"]
    finally:
        process.send_signal(signal.SIGTERM)
        code = process.wait()
        log.close()
    if code != 0:
        raise SystemExit(f"error: rowbank up ended with exit code {code}")


def train(grpc: str, data: Path | None, out: Path) -> None:
    """Trains and publishes the two-tower model."""
    say("training the two-tower model with static tables and on Rowbank")
    source = ["--data", str(data)] if data else []
    options = ["--tables", "static,rowbank", "--restrict", "--activate", "--targets", grpc, "--out", str(out)]
    command("rowbank-train", "two-tower", *options, *source)


def ask(url: str, body: dict[str, Any] | None = None) -> Any:
    """Sends a GET, or a POST of `body`; returns the answer's JSON."""
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(url, data=data, headers={"content-type": "application/json"})
    with urllib.request.urlopen(request, timeout=30) as answer:
        return json.load(answer)


def wait_until_ready(http: str) -> None:
    """Returns when the retrieval service has activated the published model."""
    deadline = time.monotonic() + ACTIVATION_TIMEOUT_S
    while True:
        try:
            ask(f"{http}/readyz")
            return
        except urllib.error.HTTPError as error:
            if time.monotonic() > deadline:
                late = f"error: no model is active {ACTIVATION_TIMEOUT_S:.0f} s after it was published"
                raise SystemExit(f"{late}: {error.read().decode()}") from None
        time.sleep(0.2)


def print_recommendations(http: str, user: int) -> None:
    """Prints the titles recommended to `user`."""
    try:
        answer = ask(f"{http}/v1/recommend", {"user_id": user, "k": ITEMS, "exclude_seen": True})
    except urllib.error.HTTPError as error:
        raise SystemExit(f"error: no recommendations for user {user}: {error.read().decode()}") from None
    print(f"user {user} (model {answer['model_version']}, from {answer['source']}):")
    for place, item in enumerate(answer["items"], start=1):
        score = "filled" if item["score"] is None else f"{item['score']:.3f}"
        print(f"  {place:2}. {score:>8}  {item['title']}")


def look_at(page: str, *, keep: bool) -> None:
    """Says where to look at recommendations in a browser; with `keep`, leaves time for it until Ctrl-C."""
    if not keep:
        print("\nto look at such answers in a browser: make demo KEEP=1")
        return
    say(f"look at {page} in a browser; Ctrl-C ends it")
    with contextlib.suppress(KeyboardInterrupt):
        signal.pause()


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
