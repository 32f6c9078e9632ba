"""Load on a service while its versions and its items change, and what every answer must be."""

from __future__ import annotations

import collections
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import httpx
import numpy as np
from tests.retrieval.support import F32, serving
from tests.retrieval.versions import Shop

import rowbank

K = 10
_TOLERANCE = 1e-4  # Of scores around 5: the service adds up float32.


class Edition(Shop):
    """A version of a shop whose titles and scores say which it is."""

    def __init__(self, model: str, number: int, **sizes: Any) -> None:
        super().__init__(model, **sizes)
        self.version = f"v{number}"
        self.titles = {item: f"{' '.join(title.split()[:3])} {self.version}" for item, title in self.titles.items()}
        self.item_weights = self.item_weights * np.float32(1 + number / 10)
        vectors: F32 = np.asarray([self.vector(title) for title in self.titles.values()])
        self.scores = (self.user_rows @ self.user_weights) @ vectors.T
        self.best = -np.sort(-self.scores, axis=1)[:, :K]

    def fault(self, answer: Any, user: int) -> str:
        """What shows that an answer is not this version's, and of nothing else; empty if nothing does."""
        items = answer["items"]
        if not answer["index_version"].startswith(f"{self.version}."):
            return f"index {answer['index_version']}"
        if answer["source"] != "personal" or answer["degraded"]:
            return f"{answer['source']} {answer['degraded']}"
        if any(item["title"].split()[-1] != self.version for item in items):
            return f"titles {[item['title'] for item in items]}"
        if not np.allclose([item["score"] for item in items], self.best[user - 1], atol=_TOLERANCE, rtol=_TOLERANCE):
            return f"scores {[item['score'] for item in items]}, expected {self.best[user - 1].tolist()}"
        return ""


@dataclass
class Tally:
    """What came of the requests of all threads."""

    answers: collections.Counter[str] = field(default_factory=collections.Counter)  # By version.
    failed: list[str] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)

    @property
    def total(self) -> int:
        return sum(self.answers.values())

    def percentile_ms(self, part: float) -> float:
        return float(np.percentile(self.seconds, part)) * 1e3 if self.seconds else 0.0


@contextmanager
def load(url: str, editions: dict[str, Edition], *, threads: int) -> Iterator[Tally]:
    """Asks for recommendations of random users in some threads, and looks at every answer."""
    tally, stop, lock = Tally(), threading.Event(), threading.Lock()
    users = len(next(iter(editions.values())).users)

    def ask(seed: int) -> None:
        rng = np.random.default_rng(seed)
        with httpx.Client(base_url=url, timeout=60) as http:
            while not stop.is_set():
                user = int(rng.integers(1, users + 1))
                started = time.perf_counter()
                try:
                    answer = http.post("/v1/recommend", json={"user_id": user, "k": K})
                except httpx.HTTPError as error:
                    answer, failure = None, repr(error)
                took = time.perf_counter() - started
                with lock:
                    tally.seconds.append(took)
                    if answer is None or answer.status_code != 200:
                        tally.failed.append(failure if answer is None else f"{answer.status_code} {answer.text}")
                        continue
                    body = answer.json()
                    tally.answers[body["model_version"]] += 1
                    if fault := editions[body["model_version"]].fault(body, user):
                        tally.wrong.append(f"{body['model_version']}, user {user}: {fault}")

    running = [threading.Thread(target=ask, args=(seed,)) for seed in range(threads)]
    for thread in running:
        thread.start()
    try:
        yield tally
    finally:
        stop.set()
        for thread in running:
            thread.join()


def activate_in_turn(http: httpx.Client, versions: list[str], times: int, *, until: Callable[[], bool]) -> None:
    """Activates one version after the other, each once the one before answers; `until` is waited for after each."""
    for turn in range(times):
        version = versions[(turn + 1) % len(versions)]
        activated = http.post(f"/v1/models/{version}/activate")
        assert activated.status_code == 200, activated.text
        serving(http, version)
        while not until():
            time.sleep(0.01)


def change_items(
    client: rowbank.Client,
    view: str,
    items: list[int],
    titles: Callable[[int, int], str],
    *,
    rate: float,
    seconds: float,
) -> int:
    """Writes `rate` items a second in batches, ten of them a second; how many were written.

    Args:
        titles: of an item at its n-th writing.
    """
    batch = max(1, int(rate / 10))
    rounds, started = int(seconds * 10), time.monotonic()
    written = 0
    for turn in range(rounds):
        chosen = [items[(turn * batch + place) % len(items)] for place in range(batch)]
        client.features.write(view, {item: {"title": titles(item, turn)} for item in chosen})
        written += len(chosen)
        time.sleep(max(0.0, started + (turn + 1) / 10 - time.monotonic()))  # The rate is what is asked for.
    return written
