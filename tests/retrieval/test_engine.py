"""The engine over a real parameter server and a real Redis: explanations, vectors, deadlines."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import redis
from tests.processes import PsProcess
from tests.retrieval.columns import MODEL, USER_FIELDS, Columns
from tests.retrieval.hosted import hosted
from tests.retrieval.support import until

import rowbank
from rowbank.errors import DeadlineExceeded, InvalidRequest, RequestError
from rowbank.features import FeatureView
from rowbank_server.retrieval.budget import Budget, QueryParts
from rowbank_server.retrieval.engine import Engine, by_time
from rowbank_server.retrieval.generation import Generation
from rowbank_server.retrieval.metrics import Metrics
from rowbank_server.retrieval.queries import Answer, Explanation, Query
from rowbank_server.retrieval.rows import ClientRows

STALE, UNUSABLE, STRANGER = 91, 92, 999
DEFAULTS = {field.name for field in USER_FIELDS if field.default is not None}


@pytest.fixture(scope="module")
def columns() -> Columns:
    return Columns("engine")


@pytest.fixture(scope="module")
def engine(
    columns: Columns, redis_url: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Engine, Generation]]:
    """An engine of its own over the generation that a host has loaded."""
    folder = tmp_path_factory.mktemp("engine")
    namespace, connection = folder.name, redis.Redis.from_url(redis_url)
    ps = PsProcess("--namespace", namespace, redis_url=redis_url, log=folder / "ps.log")
    try:
        with rowbank.Client(ps.wait_ready().target) as client:
            columns.create_tables(client)
            columns.write_features(client)
            client.features.put_view(FeatureView("people", "user_id", USER_FIELDS, max_age_s=1e9))
            client.features.write("people", {STALE: {"age": 44.0, "gender": "f"}}, event_time_s=1000.0)
            client.features.write("people", {UNUSABLE: {"taste": [1.0, 2.0, 3.0], "age": 44.0}})
            columns.publish(client, "v1")
        with hosted(connection, namespace, ps.target, MODEL) as running:
            until(lambda: running.serves(MODEL) == "v1")
            generation = running.hosts.of().serving().generation()
            rows = ClientRows([ps.target], 10.0)
            yield Engine(lambda: generation, str, rows, Metrics(), QueryParts(10.0)), generation
            rows.close()
    finally:
        ps.close()
        connection.close()


def ask(engine: Engine, *queries: Query) -> list[Answer | RequestError]:
    return engine.answer(queries, time.monotonic())


def explained(engine: Engine, **query: Any) -> tuple[Answer, Explanation]:
    answer = ask(engine, Query(explain=True, **query))[0]
    assert isinstance(answer, Answer), answer
    assert answer.explanation is not None
    return answer, answer.explanation


@pytest.mark.parametrize("user", [1, 2, 7, 19, 35])
def test_features_say_where_they_came_from(engine: tuple[Engine, Generation], columns: Columns, user: int) -> None:
    """Each of them once; only what is stored has an age."""
    _, explanation = explained(engine[0], user_id=user, features={"zip": 7})
    known = columns.users[user]
    expected = {"user_id": "given", "zip": "given"}
    for name in columns.user_fields():
        status = "stored" if name in known else "default" if name in DEFAULTS else "missing"
        expected.setdefault(name, status)
    assert {use.name: use.status for use in explanation.features} == expected
    assert len(explanation.features) == len(expected)
    for use in explanation.features:
        assert (0.0 < use.age_s < 3600.0) if use.status == "stored" else use.age_s == 0.0


def test_features_that_are_stale_or_unusable(engine: tuple[Engine, Generation]) -> None:
    """Stale ones say how old they are; both degrade the answer."""
    answer, explanation = explained(engine[0], user_id=STALE)
    assert answer.degraded == ["features:outside_max_age", "user:unknown"]
    statuses = {use.name: use.status for use in explanation.features}
    assert statuses.pop("user_id") == "given"
    assert set(statuses.values()) == {"stale"}
    assert all(use.age_s > 1e9 for use in explanation.features if use.status == "stale")
    answer, explanation = explained(engine[0], user_id=UNUSABLE)
    assert answer.degraded == ["features:unusable"]
    by_name = {use.name: use.status for use in explanation.features}
    assert (by_name["taste"], by_name["age"]) == ("unusable", "stored")


@pytest.mark.parametrize("user", [1, 7, 35])
def test_rows_say_how_many_were_found(engine: tuple[Engine, Generation], columns: Columns, user: int) -> None:
    """Of each query alone, also beside others of its batch."""
    query = Query(user_id=user, explain=True)
    others = [Query(user_id=other, explain=True) for other in range(2, 6)]
    answer = ask(engine[0], *others, query)[-1]
    assert isinstance(answer, Answer)
    assert answer.explanation is not None
    uses = {use.table.rpartition(".")[2].rpartition("/")[2]: use for use in answer.explanation.rows}
    assert set(uses) == {"user", "gender", "zip", "tag", "item", "brand"}
    known = columns.users[user]
    tags = {tag for tag in known.get("tags", ())[:3] if tag}
    met = set(known.get("history", ())[-3:])
    assert (uses["user"].keys, uses["user"].found) == (1, int(user in columns.rows["user"]))
    assert (uses["gender"].keys, uses["gender"].found) == (1, 1)
    assert (uses["tag"].keys, uses["tag"].found) == (len(tags), len(tags - {"never seen"}))
    assert (uses["item"].keys, uses["item"].found) == (len(met), len(met & set(columns.rows["item"])))
    for use in uses.values():
        assert use.mode == "frozen"
        assert use.age_s == pytest.approx(time.time() - 1000.0, rel=1e-3)  # The manifest says 1000.


def test_vectors_of_users_and_items(engine: tuple[Engine, Generation], columns: Columns) -> None:
    """In the order asked, or why there is none."""
    given = {"gender": "f", "age": 25}
    made = engine[0].embed([7, STRANGER, 35], given, [505, STRANGER, 500])
    assert (made.model_version, made.index_version) == ("v1", engine[1].index_version)
    expected: list[Any] = [
        columns.user_vector(7, columns.users[7]),
        "nothing is known of this user: no table has a row for a key of theirs, and there is no number",
        columns.user_vector(35, columns.users[35]),
        columns.user_vector(None, given),
        columns.item_vector(505, columns.items[505]),
        "the catalogue has no such item",
        columns.item_vector(500, columns.items[500]),
    ]
    for got, wanted in zip(made.vectors, expected, strict=True):
        if isinstance(wanted, str) or isinstance(got, str):
            assert str(got) == str(wanted)
        else:
            np.testing.assert_allclose(got, wanted, rtol=1e-4, atol=1e-4)
    with pytest.raises(InvalidRequest, match="features: 'colour' is unknown"):
        engine[0].embed(features={"colour": "red"})
    assert engine[0].embed().vectors == []


def test_a_query_whose_deadline_passed_is_not_begun(engine: tuple[Engine, Generation], columns: Columns) -> None:
    """Others of its batch are answered."""
    now = time.monotonic()
    late, plain, patient = ask(
        engine[0],
        Query(user_id=1, deadline_s=now - 1.0),
        Query(user_id=7, k=3),
        Query(user_id=7, k=3, deadline_s=now + 60.0),
    )
    assert isinstance(late, DeadlineExceeded)
    best = columns.best(columns.user_vector(7, columns.users[7]), 3)[0]
    for answer in (plain, patient):
        assert isinstance(answer, Answer)
        assert [item.item_id for item in answer.items] == best


def test_queries_are_answered_with_those_that_have_about_as_much_time() -> None:
    """The most urgent first; none has more time than the budget."""
    queries = [Query(deadline_s=at) for at in (109.0, None, 101.0, 101.5, 200.0, 90.0, 104.5)]
    groups = by_time(queries, Budget(110.0), 100.0)
    assert [places for places, _ in groups] == [[5], [2, 3], [6, 0], [1, 4]]
    assert [budget.deadline_s for _, budget in groups] == [90.0, 101.0, 104.5, 110.0]
    assert by_time([Query(), Query()], Budget(110.0), 100.0) == [([0, 1], Budget(110.0))]
