"""The parent of several workers: starts them, starts again one that ended, and drains them all.

It does little, so that it has no reason to fail, and holds what must outlive a worker: the listening socket, in which
connections wait for whoever is free, and the private folder.
"""

from __future__ import annotations

import contextlib
import logging
import os
import selectors
import signal
import socket
import subprocess
import sys
import time
from dataclasses import dataclass, field
from types import FrameType

from rowbank_server import logs
from rowbank_server.children import spawn
from rowbank_server.listening import listen, reserve, shown
from rowbank_server.retrieval.processes import plan as plans
from rowbank_server.retrieval.processes import restarts
from rowbank_server.retrieval.processes.accepting import BACKLOG, let_no_more_come
from rowbank_server.retrieval.processes.board import Board
from rowbank_server.retrieval.processes.folder import PrivateFolder
from rowbank_server.retrieval.starting import connect
from rowbank_server.settings import ApiSettings, StartError

_log = logging.getLogger("rowbank.api")

_MODULE = "rowbank_server.retrieval.worker"
_WAIT_FOR_MODEL_S = 30.0  # Of a worker that was started again while others answer: they have a model, it does not.
_STOP_SLACK_S = 10.0  # Beyond the drain, before a worker that does not end is killed.
_LONGEST_WAIT_S = 1.0
_LONGEST_SOCKET_PATH = 103  # Of the systems that allow least.
# NumPy's and faiss's own threads. Several workers fill the cores themselves; more threads would fight over them.
_THREAD_VARIABLES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


@dataclass(slots=True)
class _Worker:
    """One worker's place, whichever process fills it.

    Attributes:
        failures: how often in a row a process of it ended without having served for long.
        restart_at: when the next one starts, by `time.monotonic`; while none runs.
    """

    number: int
    starts: int = 0
    failures: int = 0
    restart_at: float = 0.0
    process: subprocess.Popen[bytes] | None = None
    control: socket.socket | None = None
    serving_since: float | None = None
    told: bytearray = field(default_factory=bytearray)


class Parent:
    """Runs the workers of one service in the main thread.

    Raises:
        StartError: an address cannot be listened on.
    """

    def __init__(self, settings: ApiSettings) -> None:
        self._settings = settings
        self._listener = listen("bind", settings.bind)
        self._listener.listen(BACKLOG)
        self._grpc = reserve("grpc_bind", settings.grpc_bind) if settings.grpc_bind else None
        self._folder = _private_folder()
        self._board = Board.create(self._folder.path / plans.BOARD, settings.workers)
        self._workers = [_Worker(number) for number in range(settings.workers)]
        self._selector = selectors.DefaultSelector()
        self._is_ready = False
        self._stop_by: float | None = None

    def run(self) -> int:
        """Serves until a signal asks to stop; the exit status.

        Raises:
            StartError: the workers cannot be started.
        """
        self._listen_to_signals()
        try:
            while True:
                self._start_due()
                for key, _ in self._selector.select(self._wait_s()):
                    key.data()
                self._look()
                if self._stop_by is not None:
                    return self._drain()
        except BaseException:
            self._kill()
            raise
        finally:
            self._folder.close()

    def _listen_to_signals(self) -> None:
        """SIGTERM and SIGINT ask for a drain; a second one ends all at once."""
        woken, self._waker = socket.socketpair()
        for end in (woken, self._waker):
            end.setblocking(False)
        signal.set_wakeup_fd(self._waker.fileno(), warn_on_full_buffer=False)
        self._selector.register(woken, selectors.EVENT_READ, lambda: _emptied(woken))

        def handle(number: int, frame: FrameType | None) -> None:
            if self._stop_by is not None:
                os.write(sys.stderr.fileno(), b"rowbank-api: second signal, ending at once\n")
                self._kill()
                self._folder.close()
                os._exit(128 + number)
            self._stop_by = time.monotonic() + self._settings.drain_timeout_s + _STOP_SLACK_S

        signal.signal(signal.SIGTERM, handle)
        signal.signal(signal.SIGINT, handle)
        signal.signal(signal.SIGCHLD, lambda number, frame: None)  # Only to wake up.

    def _wait_s(self) -> float:
        due = [worker.restart_at for worker in self._workers if worker.process is None]
        return min([_LONGEST_WAIT_S, *(max(0.0, at - time.monotonic()) for at in due)])

    def _start_due(self) -> None:
        for worker in self._workers:
            if worker.process is None and worker.restart_at <= time.monotonic():
                self._start(worker)

    def _start(self, worker: _Worker) -> None:
        ours, theirs = socket.socketpair()
        worker.starts += 1
        serving = any(other.serving_since is not None for other in self._workers)
        settings = self._settings.model_dump(mode="json")
        if settings.get("index_dir") == "":  # So that one worker builds an index, and the others map it.
            settings["index_dir"] = str(self._folder.path / "index")
        if self._grpc is not None:
            settings["grpc_bind"] = shown(self._grpc)
        plan = plans.Plan(
            worker=worker.number,
            workers=len(self._workers),
            settings=settings,
            listener=self._listener.fileno(),
            folder=str(self._folder.path),
            starts=worker.starts,
            wait_s=_WAIT_FOR_MODEL_S if serving else 0.0,
        )
        plans.send(ours, plan)
        threads = {name: str(self._settings.math_threads) for name in _THREAD_VARIABLES if name not in os.environ}
        with theirs:
            worker.process = spawn(
                [sys.executable, "-m", _MODULE, str(theirs.fileno())],
                death_signal=signal.SIGKILL,  # Also of one that hangs.
                keep_open=[theirs.fileno(), self._listener.fileno()],
                environment={**os.environ, **threads},
            )
        ours.setblocking(False)
        worker.control, worker.serving_since, worker.told = ours, None, bytearray()
        self._selector.register(ours, selectors.EVENT_READ, lambda: self._hear(worker))

    def _hear(self, worker: _Worker) -> None:
        """A worker says that it serves, or has closed its end."""
        if worker.control is None:  # Closed by what came just before, in the same look.
            return
        try:
            piece = worker.control.recv(4096)
        except BlockingIOError:
            return
        except OSError:
            piece = b""
        if not piece:
            self._selector.unregister(worker.control)
            worker.control.close()
            worker.control = None
            return
        worker.told += piece
        if worker.serving_since is None and worker.told.endswith(b"\n"):
            worker.serving_since = time.monotonic()
            if worker.starts > 1:
                _log.info("worker %d serves again", worker.number)
        if not self._is_ready and all(one.serving_since is not None for one in self._workers):
            self._is_ready = True
            over_grpc = f" grpc={shown(self._grpc)}" if self._grpc is not None else ""
            scheme = "https" if self._settings.tls_certificate else "http"
            sys.stdout.write(f"ready rowbank-api {scheme}://{shown(self._listener)}{over_grpc}\n")
            sys.stdout.flush()

    def _look(self) -> None:
        """Notes which workers ended, and when they start again.

        Raises:
            StartError: there is no hope for them.
        """
        for worker in self._workers:
            status = None if worker.process is None else worker.process.poll()
            if status is None or self._stop_by is not None:
                continue
            self._ended(worker, status)
        if self._stop_by is None:
            serving = sum(worker.serving_since is not None for worker in self._workers)
            failures = [worker.failures for worker in self._workers]
            if restarts.is_hopeless(failures, serving):
                raise StartError(
                    f"none of {len(self._workers)} workers can be kept running: each ended {restarts.MOST_FAILURES} "
                    "times or more in a row; see their messages above"
                )

    def _ended(self, worker: _Worker, status: int) -> None:
        now = time.monotonic()
        served_s = 0.0 if worker.serving_since is None else now - worker.serving_since
        why = f"signal {-status}" if status < 0 else f"status {status}"
        if not self._is_ready and worker.serving_since is None:
            raise StartError(f"worker {worker.number} ended with {why} before it served; see its messages above")
        worker.failures = restarts.failures_after(worker.failures, served_s)
        worker.restart_at = now + restarts.pause_s(worker.failures)
        worker.process, worker.serving_since = None, None
        self._board.leave(worker.number)
        self._board.set_connections(worker.number, 0)
        later = worker.restart_at - now
        _log.error(
            "worker %d ended with %s and is started again%s", worker.number, why, f" in {later:g} s" if later else ""
        )

    def _drain(self) -> int:
        """Asks all workers to drain and waits; 0 if each of them did."""
        let_no_more_come(self._listener)
        self._listener.close()  # The last worker that closes it has taken what waits there.
        running = [worker for worker in self._workers if worker.process is not None]
        served = {worker.number for worker in running if worker.serving_since is not None}
        for worker in running:
            assert worker.process is not None
            worker.process.terminate()
        clean = True
        assert self._stop_by is not None
        for worker in running:
            assert worker.process is not None
            try:
                status = worker.process.wait(max(0.0, self._stop_by - time.monotonic()))
            except subprocess.TimeoutExpired:
                _log.error("worker %d did not end in time and is killed", worker.number)
                worker.process.kill()
                status = worker.process.wait()
            # One that had not begun to serve has nothing to drain, and may not know yet what a signal means.
            clean = clean and (status == 0 or (worker.number not in served and status == -signal.SIGTERM))
        _log.info("stopped")
        return 0 if clean else 1

    def _kill(self) -> None:
        for worker in self._workers:
            if worker.process is not None:
                worker.process.kill()
                worker.process.wait()


def _private_folder() -> PrivateFolder:
    """Raises StartError: there is no place for it, or its name would be too long for the sockets in it."""
    try:
        folder = PrivateFolder()
    except OSError as error:
        why = error.strerror or str(error)
        raise StartError(f"workers need a folder for temporary files (TMPDIR): {why}; name one to write to") from None
    socket_path = str(folder.path / "worker-00")
    if len(os.fsencode(socket_path)) > _LONGEST_SOCKET_PATH:
        folder.close()
        raise StartError(
            f"TMPDIR: {folder.path.parent} is too long: the workers' sockets in it would have names of "
            f"{len(os.fsencode(socket_path))} bytes, and {_LONGEST_SOCKET_PATH} are possible; name a shorter one"
        )
    return folder


def _emptied(end: socket.socket) -> None:
    """Takes what signals wrote to wake us."""
    with contextlib.suppress(BlockingIOError):
        while end.recv(4096):
            pass


def run(settings: ApiSettings) -> int:
    """Runs several workers until SIGTERM or SIGINT; the exit status.

    Raises:
        SettingsError, StartError, RedisUnavailable: what keeps them from being started.
    """
    logs.configure(settings.log_level, settings.log_format)
    connect(settings).close()  # What is wrong with it is said once, and not by every worker.
    return Parent(settings).run()
