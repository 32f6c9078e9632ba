"""What a newcomer types wrongly, and what is said of it: what was got, what was expected, what to do."""

from __future__ import annotations

import json
import os
import re
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Callable

from tests.field.case import Case, World

_TIMEOUT_S = 60.0


def _ended(command: list[str], environment: dict[str, str] | None = None) -> str:
    """The exit status and what stands on stderr."""
    variables = {**os.environ, **(environment or {})}
    done = subprocess.run(
        command, capture_output=True, text=True, env=variables, timeout=_TIMEOUT_S, stdin=subprocess.DEVNULL
    )
    return f"{done.returncode} {done.stderr}"


def _rowbank(*arguments: str, **environment: str) -> Callable[[World], str]:
    """Runs `rowbank` against the case's server; {folder} and {name} are the case's."""

    def run(world: World) -> str:
        filled = [part.format(folder=world.folder, name=world.name, target=world.target) for part in arguments]
        return _ended([sys.executable, "-m", "rowbank.cli", *filled], {"ROWBANK_TARGETS": world.target, **environment})

    return run


def _server(*arguments: str, config: str = "", **environment: str) -> Callable[[World], str]:
    """Starts a server that cannot start: `arguments` as after `python -m rowbank_server`."""

    def run(world: World) -> str:
        filled = [part.format(folder=world.folder, target=world.target) for part in arguments]
        named = {}
        if config:
            (world.folder / "rowbank.toml").write_text(config)
            named = {"ROWBANK_CONFIG": str(world.folder / "rowbank.toml")}
        text = _ended([sys.executable, "-m", "rowbank_server", *filled], {**named, **environment})
        return text.replace(str(world.folder), "DIR")

    return run


def _torn_manifest(world: World) -> str:
    (world.folder / "manifest.json").write_text('{"format": 1, ')
    command = [sys.executable, "-m", "rowbank.cli", "snapshot", "verify", str(world.folder)]
    return _ended(command).replace(str(world.folder), "DIR")


def _train(*arguments: str) -> Callable[[World], str]:
    code = "import sys; sys.argv[0] = 'rowbank-train'; from rowbank_trainer.cli import main; main()"
    return lambda world: re.sub(r"[│╭╮╰╯─]+", " ", _ended([sys.executable, "-c", code, *arguments]))


def _http(method: str, path: str, body: str | None = None) -> Callable[[World], str]:
    def run(world: World) -> str:
        request = urllib.request.Request(
            world.http_url + path, None if body is None else body.encode(), {"content-type": "application/json"}
        )
        request.method = method
        try:
            with urllib.request.urlopen(request, timeout=_TIMEOUT_S) as answer:
                return f"{answer.status}"
        except urllib.error.HTTPError as error:
            return f"{error.code} {json.loads(error.read()).get('detail')}"

    return run


def _client(target: str) -> Callable[[World], str]:
    def run(world: World) -> str:
        from rowbank import Client

        with Client(target, connect_timeout_s=2.0, wait_for_ready=False):
            return "connected"

    return run


def _port_in_use(*arguments: str) -> Callable[[World], str]:
    """Starts a server on a port that is taken; what it logs before it says so is left out."""

    def run(world: World) -> str:
        from rowbank_server.redis_supervisor import EmbeddedRedis

        with socket.socket() as taken, EmbeddedRedis(world.folder / "redis") as redis:
            taken.bind(("127.0.0.1", 0))
            taken.listen()
            address = f"127.0.0.1:{taken.getsockname()[1]}"
            filled = [part.format(taken=address, folder=world.folder) for part in arguments]
            url = [] if arguments[0] == "up" else ["--redis", redis.url]
            status, _, text = _ended([sys.executable, "-m", "rowbank_server", *filled, *url]).partition(" ")
        lines = [line for line in text.splitlines() if " INFO " not in line]
        return " ".join([status, *lines]).replace(address, "TAKEN")

    return run


def _exists(world: World) -> str:
    from rowbank import SGD, Adagrad, Client, TableSpec

    with Client(world.target) as client:
        client.create_table(TableSpec(world.name, dim=4, optimizer=SGD(0.1)))
        try:
            client.create_table(TableSpec(world.name, dim=8, optimizer=Adagrad(0.2)), exist_ok=True)
        finally:
            client.drop_table(world.name)
    return "accepted"


def _many_tables(world: World) -> str:
    from rowbank import Client, TableSpec

    names = [f"{world.name}-{number:02}" for number in range(12)] + [f"{world.name}-users"]
    with Client(world.target) as client:
        for name in names:
            client.create_table(TableSpec(name, dim=2))
        try:
            client.table(f"{world.name}-user")
        finally:
            for name in names:
                client.drop_table(name)
    return "found"


def _misspelt_variable(world: World) -> str:
    text = _ended([sys.executable, "-m", "rowbank.cli", "tables"], {"ROWBANK_TARGET": world.target})
    return " ".join(line for line in text.splitlines() if "ROWBANK" in line) or "silence"


CASES = [
    Case("Client('127.0.0.1:70000')", r"InvalidRequest: targets: expected HOST:PORT .* got '127.0.0.1:70000'.*",
         _client("127.0.0.1:70000")),
    Case("Client('http://127.0.0.1:7700')", r"InvalidRequest: .*leave out http:// and write 127.0.0.1:7700",
         _client("http://127.0.0.1:7700")),
    Case("Client('localhost:1') with nobody there", r"ShardUnavailable: .*localhost:1: connection refused.*",
         _client("localhost:1")),
    Case("rowbank tables -t nohost.invalid", r"1 error: cannot connect to nohost.invalid:7700: no such host;.*",
         _rowbank("tables", "-t", "nohost.invalid")),
    Case("rowbank tables -t ::1", r"2 error: --target: .*in brackets: \[::1\]:7700", _rowbank("tables", "-t", "::1")),
    Case("rowbank tables -t a,a:7700", r"2 error: --target: .*'a:7700' more than once",
         _rowbank("tables", "-t", "a,a:7700")),
    Case("ROWBANK_TARGET=... rowbank tables", r".*variable ROWBANK_TARGET .*did you mean ROWBANK_TARGETS\?",
         _misspelt_variable),
    Case("rowbank up --datadir", r"2 error: rowbank up has no option --datadir; did you mean --data-dir\?",
         _server("up", "--datadir", "x")),
    Case("rowbank serve ps --bindd", r"2 error: rowbank serve ps has no option --bindd; did you mean --bind\?",
         _server("ps", "--bindd", "x")),
    Case("rowbank-train two-tower --epoch", r"2 error: rowbank-train two-tower has no option --epoch; did you mean.*",
         _train("two-tower", "--epoch", "2")),
    Case("rowbank-train two-tower --epochs 0", r"2 error: --epochs must be at least 1, got 0",
         _train("two-tower", "--epochs", "0")),
    Case("rowbank tabels", r"2 error: rowbank has no command 'tabels'; did you mean tables\?", _rowbank("tabels")),
    Case("rowbank evict T --keep -3", r"2 error: --keep: expected an integer of at least 0, got '-3'",
         _rowbank("evict", "T", "--keep", "-3")),
    Case("rowbank row T notakey", r"2 error: KEY: expected an integer, got 'notakey'.*",
         _rowbank("row", "T", "notakey")),
    Case("rowbank table create T --dim 0", r"2 error: --dim: expected an integer from 1 to 4096, got '0'",
         _rowbank("table", "create", "T", "--dim", "0")),
    Case("--initializer uniform:low=0.5", r"2 error: --initializer uniform:low=0.5: .*high = 0.05 \(the default.*",
         _rowbank("table", "create", "T", "--dim", "4", "--initializer", "uniform:low=0.5")),
    Case("--max-rows without --eviction", r"2 error: --max-rows 9 needs --eviction lfu or --eviction lru.*",
         _rowbank("table", "create", "T", "--dim", "4", "--max-rows", "9")),
    Case("a table that exists", r"TableExists: .*dim is 4, asked for 8; optimizer is sgd, asked for ada.*", _exists),
    Case("13 tables and a misspelt name", r"TableNotFound: .*known tables: '[^']*-users', .* "
         r"and \d+ more; did you mean .*",
         _many_tables),
    Case("unknown key in rowbank.toml", r"2 error: DIR/rowbank.toml: setting flush_intervall_s in \[ps\] is unknown; "
         r"did you mean flush_interval_s\?.*", _server("up", "--data-dir", "{folder}/d", "--grpc-bind", "http://x",
                                                   config="[ps]\nflush_intervall_s = 1\n")),
    Case("ROWBANK_FOO for a server", r"1 warning: variable ROWBANK_PS_FLUSH_INTERVAL .*did you mean "
         r"ROWBANK_PS_FLUSH_INTERVAL_S\? .*", _server("ps", "--redis", "redis://127.0.0.1:1",
                                                       ROWBANK_PS_FLUSH_INTERVAL="2")),
    Case("--bind 127.0.0.1", r"2 error: setting bind .* got '127.0.0.1': the port is missing",
         _server("ps", "--bind", "127.0.0.1")),
    Case("serve api --targets h:99999", r"2 error: setting targets \(ROWBANK_TARGETS\): .*99999 is no such port",
         _server("api", "--targets", "h:99999")),
    Case("--load-threads 100", r"2 error: setting load_threads .*expected an integer from 1 to 64, got '100'",
         _server("ps", "--load-threads", "100")),
    Case("--shard 5", r"2 error: setting shard .*expected I/N with I from 0 to N-1, such as 0/1, got '5'",
         _server("ps", "--shard", "5")),
    Case("bind in use", r"1 error: bind TAKEN: port \d+ is in use; .*", _port_in_use("ps", "--bind", "{taken}")),
    Case("http_bind in use", r"1 error: http_bind TAKEN: port \d+ is in use; .*",
         _port_in_use("ps", "--bind", "127.0.0.1:0", "--http-bind", "{taken}")),
    Case("HTTP port in use", r"1 error: bind TAKEN: port \d+ is in use; .*", _port_in_use("api", "--bind", "{taken}")),
    Case("up's port in use", r"1 error: http_bind TAKEN: port \d+ is in use; .*",
         _port_in_use("up", "--data-dir", "{folder}/d", "--grpc-bind", "127.0.0.1:0", "--http-bind", "{taken}")),
    Case("a Redis that nobody runs", r"1 error: Redis failed \(redis://127.0.0.1:1\): 127.0.0.1:1: connection refused, "
         r"nothing listens there; start that Redis.*", _server("ps", "--redis", "redis://127.0.0.1:1")),
    Case("Sentinels that nobody runs", r"1 error: Redis failed \([^)]*\): no Sentinel that answers knows a master 'm' "
         r"that can be reached; start that Redis.*", _server("ps", "--redis", "redis+sentinel://127.0.0.1:1/m/0")),
    Case("--redis redis://h:99999", r"2 error: redis URL: expected HOST:PORT with a port from 0 to 65535, .*",
         _server("ps", "--redis", "redis://h:99999")),
    Case("an unknown field in Redis's URL", r"2 error: redis URL: .* has a query field 'retries', which is unknown",
         _server("ps", "--redis", "redis://127.0.0.1:1/0?retries=3")),
    Case("a manifest that is no JSON", r"1 error: .*manifest.json: is no JSON; it was not written by a snapshot, or .*",
         _torn_manifest),
    Case("a path that there is not", r"404 GET /v1/nix: there is no such path; /openapi.json lists what there is",
         _http("GET", "/v1/nix")),
    Case("k: -2 over HTTP", r"422 k: expected an integer from 1 to 1000, got -2",
         _http("POST", "/v1/recommend", '{"user_id": 1, "k": -2}')),
    Case("a misspelt field over HTTP", r"422 exclude_sen: is unknown; did you mean exclude_seen\?.*",
         _http("POST", "/v1/recommend", '{"user_id": 1, "exclude_sen": true}')),
    Case("a misspelt query parameter", r"422 query parameter 'kk' is unknown; did you mean k\? known: k, .*ids",
         _http("GET", "/v1/popular?kk=3")),
    Case("an empty body", r"400 the body is empty; expected JSON with user_id, .*", _http("POST", "/v1/recommend", "")),
    Case("a body that is no JSON", r"400 the body is not JSON: line 1, column \d+",
         _http("POST", "/v1/recommend", "user_id=1")),
]  # fmt: skip
