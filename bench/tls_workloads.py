"""What TLS costs: the same calls to the same servers with it and without it, in turns."""

from __future__ import annotations

import contextlib
import http.client
import json
import ssl
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import trustme

from rowbank import Adagrad, Client, Credentials, RetrievalClient, Table, TableSpec

from . import services
from .arrays import Array
from .grpc_workloads import fill_rowbank
from .keys import BATCHES, query_batches, table_keys
from .report import Figure, Settings, speedup
from .serving_workloads import publish_rows, wait_until_ready
from .timing import take_turns

_ITEMS, _USERS, _K = 10_000, 1_000, 10
_PLAIN = Credentials()


def tls_cost(settings: Settings) -> list[Figure]:
    """Pulls, pushes and recommendations over TLS, beside the same in plain text."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        authority = trustme.CA()
        authority.cert_pem.write_to_path(folder / "ca.pem")
        made = authority.issue_cert("127.0.0.1")
        made.private_key_and_cert_chain_pem.write_to_path(folder / "server.pem")
        options = ("--tls-certificate", str(folder / "server.pem"), "--tls-key", str(folder / "server.pem"))
        return [*_rows(settings, folder, options), *_recommendations(settings, folder, options)]


def _rows(settings: Settings, folder: Path, options: tuple[str, ...]) -> list[Figure]:
    keys = table_keys(settings)
    batches = query_batches(settings, keys)
    gradients = np.ones((settings.batch, settings.dim), np.float32)
    with contextlib.ExitStack() as stack:
        tables = {}
        secured = Credentials(ca_file=str(folder / "ca.pem"))
        for name, more, credentials in (("plain", (), _PLAIN), ("tls", options, secured)):
            address = stack.enter_context(services.running_ps(stack.enter_context(services.running_redis()), *more))
            client = stack.enter_context(Client(address, credentials=credentials))
            tables[name] = client.create_table(
                TableSpec("bench", dim=settings.dim, optimizer=Adagrad(0.1), durability="relaxed")
            )
            fill_rowbank(tables[name], settings, keys)
        timings = take_turns(
            {
                **{f"{name} pull": _pull(table, batches) for name, table in tables.items()},
                **{f"{name} push": _push(table, batches, gradients) for name, table in tables.items()},
            },
            rounds=settings.rounds,
            calls_per_round=settings.calls_per_round,
        )
    return [
        speedup("tls_cost", timings[f"tls {what}"], timings[f"plain {what}"], at_least=None, rows=settings.batch)
        for what in ("pull", "push")
    ]


def _pull(table: Table, batches: list[Array]) -> Callable[[int], object]:
    return lambda number: table.pull(batches[number % BATCHES])


def _push(table: Table, batches: list[Array], gradients: Array) -> Callable[[int], object]:
    return lambda number: table.push(batches[number % BATCHES], gradients)


def _recommendations(settings: Settings, folder: Path, options: tuple[str, ...]) -> list[Figure]:
    random = np.random.default_rng(settings.seed)
    vectors = random.standard_normal((_ITEMS, settings.dim), dtype=np.float32)
    users = random.standard_normal((_USERS, settings.dim), dtype=np.float32)
    with contextlib.ExitStack() as stack:
        redis_port = stack.enter_context(services.running_redis())
        target = stack.enter_context(services.running_ps(redis_port))
        publish_rows(target, vectors, users, folder, durability="relaxed")
        known = ("--redis", f"redis://127.0.0.1:{redis_port}", "--targets", target)
        trusted = ssl.create_default_context(cafile=str(folder / "ca.pem"))
        over_http, over_grpc = {}, {}
        for name, more, credentials in (
            ("plain", (), _PLAIN),
            ("tls", options, Credentials(ca_file=str(folder / "ca.pem"))),
        ):
            address, rpc = stack.enter_context(_service(*known, *more))
            over_grpc[name] = stack.enter_context(RetrievalClient(rpc, credentials=credentials))
            if name == "plain":
                wait_until_ready(address)
                over_http[name] = http.client.HTTPConnection(address)
            else:
                over_http[name] = http.client.HTTPSConnection(address, context=trusted)
                _wait(over_http[name])
        timings = take_turns(
            {
                **{f"{name} recommend HTTP": _ask(line) for name, line in over_http.items()},
                **{f"{name} recommend gRPC": _call(client) for name, client in over_grpc.items()},
            },
            rounds=settings.rounds,
            calls_per_round=settings.calls_per_round,
        )
    return [
        speedup("tls_cost", timings[f"tls {what}"], timings[f"plain {what}"], at_least=None, rows=_K)
        for what in ("recommend HTTP", "recommend gRPC")
    ]


def _ask(line: http.client.HTTPConnection) -> Callable[[int], object]:
    def ask(number: int) -> bytes:
        body = json.dumps({"user_id": number % _USERS, "k": _K})
        line.request("POST", "/v1/recommend", body, {"content-type": "application/json"})
        answer = line.getresponse()
        said = answer.read()
        if answer.status != 200:
            raise RuntimeError(f"status {answer.status}: {said!r}")
        return said

    return ask


def _call(client: RetrievalClient) -> Callable[[int], object]:
    return lambda number: client.recommend(number % _USERS, k=_K)


def _wait(line: http.client.HTTPConnection) -> None:
    """Waits until a service answers queries."""
    until = time.monotonic() + 300.0
    while True:
        line.request("GET", "/readyz")
        answer = line.getresponse()
        answer.read()
        if answer.status == 200:
            return
        if time.monotonic() > until:
            raise RuntimeError("the service was not ready within 300 s")
        time.sleep(0.1)


@contextlib.contextmanager
def _service(*options: str) -> Iterator[tuple[str, str]]:
    """A retrieval service; where it listens for HTTP and gRPC."""
    command = [sys.executable, "-m", "rowbank_server", "api", "--bind", "127.0.0.1:0", "--grpc-bind", "127.0.0.1:0"]
    process = subprocess.Popen([*command, *options], stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        ready = process.stdout.readline().split()
        if ready[:1] != ["ready"]:
            raise RuntimeError(f"the service did not start; it printed {ready}")
        yield ready[2].partition("://")[2], ready[3].removeprefix("grpc=")
    finally:
        process.terminate()
        process.wait()
