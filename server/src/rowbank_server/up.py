"""Everything on one machine: Redis (unless one is given), one parameter-server shard, the retrieval service.

They are processes of their own, as in a larger installation; this one starts them in order, watches them, and
stops them in the reverse order.
"""

from __future__ import annotations

import logging
import os
import select
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import FrameType

from rowbank.credentials import Credentials
from rowbank_server import logs
from rowbank_server.children import spawn
from rowbank_server.listening import require_free
from rowbank_server.pair import Pair, wait_for_owner
from rowbank_server.redis_supervisor import EmbeddedRedis
from rowbank_server.restarts import Restarts
from rowbank_server.security import admin_file, outgoing
from rowbank_server.security.binds import require_private
from rowbank_server.security.tls import served_tls
from rowbank_server.settings import (
    ApiSettings,
    SettingsError,
    StartError,
    UpSettings,
    unknown_variables,
    variable,
)
from rowbank_server.settings.security import SecuritySettings

_log = logging.getLogger("rowbank.up")
_WATCH_INTERVAL_S = 0.1


class StopAskedError(Exception):
    """A signal asked to stop."""


class Child:
    """One server process and its ready line."""

    def __init__(self, role: str, arguments: list[str], environment: dict[str, str]) -> None:
        self.role = role
        command = [sys.executable, "-m", "rowbank_server", role, *arguments]
        self._process = spawn(command, death_signal=signal.SIGTERM, stdout=subprocess.PIPE, environment=environment)

    @property
    def pid(self) -> int:
        """The process id."""
        return self._process.pid

    def exit_status(self) -> int | None:
        """None while it runs."""
        return self._process.poll()

    def wait_ready(self, *, timeout_s: float) -> list[str]:
        """The addresses in the ready line.

        Raises:
            StartError: the process ended first, or took too long.
        """
        assert self._process.stdout is not None
        deadline = time.monotonic() + timeout_s
        line = b""
        while not line.endswith(b"\n"):
            readable, _, _ = select.select([self._process.stdout], [], [], max(0.0, deadline - time.monotonic()))
            if not readable:
                raise StartError(f"rowbank-{self.role} was not ready within {timeout_s:g} s (setting start_timeout_s)")
            piece = os.read(self._process.stdout.fileno(), 4096)
            if not piece:
                status = self._process.wait()
                raise StartError(f"rowbank-{self.role} ended with status {status} before it was ready; see above")
            line += piece
        words = line.decode().split()
        if len(words) < 3 or words[0] != "ready":
            raise StartError(f"rowbank-{self.role}: expected a ready line, got {line.decode()!r}")
        return words[2:]

    def discard_output(self) -> None:
        """Reads away what it wrote after its ready line, so that it never waits for a reader."""
        assert self._process.stdout is not None
        while select.select([self._process.stdout], [], [], 0)[0] and os.read(self._process.stdout.fileno(), 4096):
            pass

    def stop(self, *, timeout_s: float) -> int:
        """Asks it to drain and waits; kills it if that takes too long. Returns its exit status."""
        if self._process.poll() is None:
            self._process.terminate()
        try:
            return self._process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            _log.error("rowbank-%s did not end within %g s and is killed", self.role, timeout_s)
            self._process.kill()
            return self._process.wait()


class Up:
    """The processes of one machine."""

    def __init__(self, settings: UpSettings, credentials: Credentials) -> None:
        self._settings = settings
        self._credentials = credentials
        self._redis: EmbeddedRedis | None = None
        self._environment: dict[str, str] = {}
        self._common: list[str] = []
        self._children: list[Child] = []
        self._pair: Pair[Child] | None = None
        self._redis_restarts = Restarts("the embedded Redis")

    def start(self) -> str:
        """Starts all, each after what it needs; returns the addresses as the ready line has them. Raises StartError."""
        settings = self._settings
        for name, address in _listened_on(settings).items():
            require_free(name, address)
        url = settings.redis
        if not url:
            self._redis = EmbeddedRedis(
                settings.data_dir, appendfsync=settings.appendfsync, start_timeout_s=settings.start_timeout_s
            )
            self._redis.start()
            url = self._redis.url
        # The URL may hold a password, and everybody on the machine can read a command line.
        self._environment = {
            variable(ApiSettings, "index_dir"): str(settings.data_dir / "index"),
            **os.environ,
            variable(UpSettings, "redis"): url,
            **_protection(settings),
        }
        for name in unknown_variables():  # Once warned of is enough.
            del self._environment[name]
        self._common = common = [
            *("--namespace", settings.namespace, "--redis-timeout-s", str(settings.redis_timeout_s)),
            *("--log-level", settings.log_level, "--log-format", settings.log_format),
            *(["--insecure"] if settings.insecure else []),
            *(["--tracing"] if settings.tracing else []),
            *(["--allow-redis-eviction"] if settings.allow_redis_eviction else []),
        ]
        servers = self._start_pair() if settings.standby else [self._start_child("ps", self._ps(0))]
        arguments = ["--bind", settings.http_bind, "--grpc-bind", settings.retrieval_grpc_bind]
        targets = "|".join(_reachable(words[0]) for words in servers)
        arguments += ["--targets", targets, "--model", settings.model]
        arguments += ["--workers", str(settings.api_workers)]
        http_url, *over_grpc = self._start_child("api", [*arguments, *common])
        retrieval = [f"retrieval_{address}" for address in over_grpc]  # grpc=HOST:PORT, where it is on.
        over_http = [
            f"{name}_{word}"  # http=URL, where it is on.
            for name, words in zip(("ps", "standby"), servers, strict=False)
            for word in words[1:]
        ]
        addresses = [f"{name}={words[0]}" for name, words in zip(("grpc", "standby"), servers, strict=False)]
        return " ".join([*addresses, f"http={http_url}", *retrieval, *over_http])

    def watch(self) -> None:
        """Looks after the processes until one ends for good.

        Raises:
            StartError: a server ended, or Redis cannot be kept running.
        """
        while True:
            if self._pair is not None:
                self._pair.watch()
            for child in self._children:
                status = child.exit_status()
                if status is not None:
                    raise StartError(
                        f"rowbank-{child.role} ended by itself with status {status}; see its messages above"
                    )
            if self._redis is not None and self._redis.exit_status() is not None:
                self._restart_redis(self._redis)
            time.sleep(_WATCH_INTERVAL_S)

    def stop(self) -> int:
        """Stops all, in the reverse order; returns 0 if every one drained cleanly."""
        children = [*(self._pair.processes if self._pair else ()), *self._children]
        statuses = [child.stop(timeout_s=self._settings.stop_timeout_s) for child in reversed(children)]
        if self._redis is not None:
            self._redis.stop()
        return max((0 if status == 0 else 1 for status in statuses), default=0)

    def _ps(self, index: int, *options: str) -> list[str]:
        """Arguments of one of the parameter servers."""
        settings = self._settings
        binds = (settings.grpc_bind, settings.ps_http_bind) if index == 0 else _of_standby(settings)
        return ["--bind", binds[0], "--http-bind", binds[1], "--shard", "0/1", *options, *self._common]

    def _start_pair(self) -> list[list[str]]:
        """Starts two parameter servers that stand by for each other; returns their addresses once one serves."""
        settings = self._settings
        binds: list[tuple[str, ...]] = [(), ()]  # Where each of them listens, once it does.

        def start(index: int) -> Child:
            return Child("ps", [*self._ps(index, "--standby"), *binds[index]], self._environment)

        self._pair = Pair([start(0), start(1)], start)
        ready = [child.wait_ready(timeout_s=settings.start_timeout_s) for child in self._pair.processes]
        for index, (address, *http) in enumerate(ready):
            over_http = [part for word in http for part in ("--http-bind", word.rpartition("/")[2])]
            binds[index] = ("--bind", address, *over_http)
        wait_for_owner([_reachable(words[0]) for words in ready], self._credentials, timeout_s=settings.start_timeout_s)
        return ready

    def _start_child(self, role: str, arguments: list[str]) -> list[str]:
        child = Child(role, arguments, self._environment)
        self._children.append(child)
        return child.wait_ready(timeout_s=self._settings.start_timeout_s)

    def _restart_redis(self, redis: EmbeddedRedis) -> None:
        self._redis_restarts.note()
        _log.error("the embedded Redis ended with status %s and is started again", redis.exit_status())
        redis.restart()


def run(settings: UpSettings) -> int:
    """Runs everything until SIGTERM or SIGINT; returns the exit status.

    Raises:
        SettingsError: the settings do not fit together.
        StartError: something could not be started or ended by itself.
    """
    logs.configure(settings.log_level, settings.log_format)
    require_private(settings, _listened_on(settings))
    served_tls(settings)
    if settings.require_tokens:
        settings = _with_token(settings)
    credentials = outgoing.credentials(settings)
    if settings.tls_certificate and not settings.tls_ca:
        raise SettingsError(
            "setting tls_ca (ROWBANK_TLS_CA): expected the PEM file of the CA that signed tls_certificate, with which "
            "the processes check each other, got none"
        )
    _stop_on_signals()
    up = Up(settings, credentials)
    failure: StartError | None = None
    try:
        sys.stdout.write(f"ready rowbank-up {up.start()}\n")
        sys.stdout.flush()
        up.watch()
    except StopAskedError:
        _log.info("stopping")
    except StartError as error:
        failure = error
    status = up.stop()
    if failure is not None:
        raise failure
    return status


def _with_token(settings: UpSettings) -> UpSettings:
    """The settings with a token by which the processes know each other, and the first tokens are made. StartError."""
    path = Path(settings.admin_token_file or settings.data_dir / "admin-token").resolve()
    try:
        if not settings.admin_token_file and admin_file.make(path):
            _log.info("made %s: whoever can read it may do everything", path)
    except OSError as error:
        raise StartError(f"{path}: cannot be made: {error.strerror}; setting admin_token_file names another") from None
    return settings.model_copy(update={"admin_token_file": str(path), "token_file": settings.token_file or str(path)})


def _protection(settings: UpSettings) -> dict[str, str]:
    """Variables by which the children serve and connect as this process was told to."""
    return {
        variable(UpSettings, name): "1" if value is True else str(value)
        for name in SecuritySettings.model_fields
        if (value := getattr(settings, name))
    }


def _listened_on(settings: UpSettings) -> dict[str, str]:
    """The addresses that other programs connect to, by their settings."""
    names = ("grpc_bind", "http_bind", "retrieval_grpc_bind", "ps_http_bind")
    of_standby = dict(zip(("standby_grpc_bind", "ps_http_bind of the standby"), _of_standby(settings), strict=True))
    addresses = {**{name: getattr(settings, name) for name in names}, **(of_standby if settings.standby else {})}
    return {name: address for name, address in addresses.items() if address}


def _of_standby(settings: UpSettings) -> tuple[str, str]:
    """Where the second parameter server listens: gRPC, HTTP."""
    return settings.standby_grpc_bind, _next_port(settings.ps_http_bind)


def _next_port(address: str) -> str:
    """The port after that of `address`; a free one if it is 0, and nothing for nothing."""
    host, colon, port = address.rpartition(":")
    return f"{host}{colon}{int(port) + 1 if int(port or 0) else port}"


def _reachable(address: str) -> str:
    """An address to connect to, for one that a server listens on."""
    host, _, port = address.rpartition(":")
    return f"{ {'0.0.0.0': '127.0.0.1', '[::]': '[::1]'}.get(host, host) }:{port}"


def _stop_on_signals() -> None:
    """The first signal ends `watch` (or the start); a second one ends the process at once, and its children with it."""
    stopping = False

    def handle(number: int, frame: FrameType | None) -> None:
        nonlocal stopping
        if stopping:
            os._exit(128 + number)
        stopping = True
        raise StopAskedError

    signal.signal(signal.SIGTERM, handle)
    signal.signal(signal.SIGINT, handle)
