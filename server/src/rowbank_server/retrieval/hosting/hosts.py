"""Every model of the namespace: a host for each that has an active version."""

from __future__ import annotations

import asyncio
import functools
import logging
import threading
import time
from collections.abc import Mapping
from concurrent.futures import Future

from rowbank.errors import InternalError, ModelNotFound, NotReady, RequestError
from rowbank.traffic import Traffic
from rowbank_server.retrieval.hosting.host import Host
from rowbank_server.retrieval.hosting.serving import Equipment, Serving
from rowbank_server.security.caller import current, require_model

_log = logging.getLogger("rowbank.api")

_STOP_WAIT_S = 2.0
_SAY_S = 10.0  # How often a process says what it has loaded.


class Hosts:
    """Looks a few times a second, in a thread of its own, which models have an active version.

    Args:
        default: the model that answers requests that name none.
        loop: where queries come from.
        poll_s: how often it looks.
        keep_s: how long the version that was served before stays loaded, so that a roll back is immediate.
        grace_s: the least that any version does, so that a query that has chosen it finds it.
    """

    def __init__(
        self,
        default: str,
        equipment: Equipment,
        loop: asyncio.AbstractEventLoop,
        *,
        poll_s: float = 0.25,
        keep_s: float = 300.0,
        grace_s: float = 30.0,
    ) -> None:
        self._default = default
        self._equipment = equipment
        self._loop = loop
        self._poll_s = poll_s
        self._keep_s = max(keep_s, grace_s)
        self._grace_s = grace_s
        self._hosts: Mapping[str, Host] = {}  # Replaced as a whole, so that it may be read without a lock.
        self._failure = ""
        self._say_at = 0.0
        self._wake = threading.Event()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="hosts", daemon=True)

    @property
    def all(self) -> Mapping[str, Host]:
        """By name, every model that has an active version."""
        return self._hosts

    @property
    def default_model(self) -> str:
        """The model that answers requests that name none: that of the setting, else the only one there is."""
        hosts = self._hosts
        return self._default if self._default in hosts or len(hosts) != 1 else next(iter(hosts))

    @property
    def problem(self) -> str:
        """Why the registry cannot be followed; empty if it can."""
        return self._failure

    def of(self, name: str = "") -> Host:
        """The host of a model; without a name, of the default one.

        Raises:
            ModelNotFound: it has no active version.
            NotReady: there is no default one yet; the message says what to do.
            PermissionDenied: the caller's token is not for it.
        """
        hosts = self._hosts
        require_model(name or self.default_model)
        host = hosts.get(name or self.default_model)
        if host is not None:
            return host
        shown = sorted(filter(current().may_use_model, hosts))
        served = f"; served: {', '.join(shown)}" if shown else ""
        if name:
            raise ModelNotFound(f"model {name!r} is not served here{served}", metadata={"model": name})
        missing = (
            f"no active version of model {self._default!r}; train one (rowbank-train two-tower --activate), "
            f"or activate a published one (POST /v1/models/{{version}}/activate){served}"
        )
        raise NotReady(self._failure or missing)

    def wake(self) -> None:
        """Looks at the registry now."""
        self._wake.set()

    def start(self) -> None:
        """Starts the thread."""
        self._thread.start()

    async def close(self) -> None:
        """Ends all threads and answers what waits."""
        self._stop.set()
        self._wake.set()
        await asyncio.to_thread(self._thread.join, _STOP_WAIT_S)
        await asyncio.gather(*(host.close() for host in self._hosts.values()))

    def _run(self) -> None:
        while not self._stop.is_set():
            try:
                self._follow(self._equipment.registry.traffic_of_all())
                self._say_what_is_loaded()
            except RequestError as error:
                self._failed(error)
            except Exception as error:
                _log.exception("following the registry failed for a reason that is a defect")
                self._failed(InternalError(f"{type(error).__name__}: {error}"))
            self._wake.wait(self._poll_s)
            self._wake.clear()

    def _failed(self, error: RequestError) -> None:
        if error.message != self._failure:
            _log.warning("the registry cannot be followed: %s; tried again and again", error.message)
        self._failure = error.message

    def _follow(self, traffic: Mapping[str, Traffic]) -> None:
        """Opens hosts for new models and closes those of models that are gone.

        A Redis that came back empty takes nothing out of service: then there is no model at all.
        """
        hosts = dict(self._hosts)
        lost = bool(hosts) and not traffic
        self._failure = "Redis holds no model any more; what was served stays in service" if lost else ""
        for name, wanted in traffic.items():
            if name not in hosts:
                hosts[name] = Host(
                    name,
                    self._equipment,
                    self._loop,
                    keep_s=self._keep_s,
                    grace_s=self._grace_s,
                    on_drop=self._dropped,
                )
                hosts[name].start()
            hosts[name].want(wanted)
        gone = [hosts.pop(name) for name in set(hosts) - set(traffic) if not lost]
        self._hosts = hosts
        for host in gone:
            closing = asyncio.run_coroutine_threadsafe(host.close(), self._loop)
            closing.add_done_callback(functools.partial(self._closed, host))
            _log.info("model %s has no active version any more", host.name)

    def _closed(self, host: Host, done: Future[None]) -> None:
        """Forgets what was counted of a model, which its threads might have counted until now."""
        if not done.cancelled() and (error := done.exception()) is not None:
            _log.error("closing model %s failed for a reason that is a defect", host.name, exc_info=error)
        if host.name in self._hosts:
            return  # It is there again, and counts anew.
        self._equipment.metrics.versions.model_gone(host.name)
        for serving in host.servings.values():
            self._equipment.metrics.versions.version_gone(host.name, serving.version)
            self._equipment.metrics.catalogues.gone(host.name, serving.version)
            self._dropped(serving)

    def _say_what_is_loaded(self) -> None:
        """So that nobody removes it."""
        now = time.monotonic()
        if now >= self._say_at:
            self._say_at = now + _SAY_S
            self._equipment.registry.note_loaded(
                {name: list(host.servings) for name, host in self._hosts.items()}, time.time()
            )

    def _dropped(self, gone: Serving) -> None:
        """Forgets what could not be read of views that nothing loaded reads any more."""
        loaded = [serving for host in self._hosts.values() for serving in host.servings.values()]
        read = {view for serving in loaded for view in _views(serving)}
        self._equipment.store.unreadable.forget(_views(gone) - read)


def _views(serving: Serving) -> set[str]:
    return {layers.base for layers in (serving.model.items, serving.model.users) if layers is not None}
