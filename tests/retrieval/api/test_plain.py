"""Plain bodies: what is read of them is what `RecommendBody` reads, and is answered alike."""

from __future__ import annotations

import json
import random

import pytest
from tests.retrieval.api.conftest import Both

from rowbank.errors import RequestError
from rowbank.text import MAX_ID_BYTES
from rowbank_server.retrieval.api import schemas
from rowbank_server.retrieval.api.schemas.fields import BIG

PLAIN = [
    b'{"user_id":1}',
    b'{"user_id":-9223372036854775808,"k":1000}',
    b'{"k":3,"user_id":9223372036854775807}',
    b'{ "user_id" : "lamp-7" , "k" : 1 }',
    b'{"user_id":-0}',
    b'{"user_id":1,"user_id":2}',
    b'{"user\\u005fid":"\\u00e9"}',
    b'{"user_id":"a\\u0000b"}',
]
OTHERS = [
    b"",
    b"[]",
    b'{"k":3}',
    b'{"user_id":1.0}',
    b'{"user_id":true}',
    b'{"user_id":null}',
    b'{"user_id":""}',
    b'{"user_id":"\\ud800"}',
    b'{"user_id":9223372036854775808}',
    b'{"user_id":1,"k":0}',
    b'{"user_id":1,"k":1001}',
    b'{"user_id":1,"k":null}',
    b'{"user_id":1,"offset":0}',
    b'{"user_id":1,"cursor":"x"}',
    b'{"user_id":1,"\xff":2}',
    b'{"user_id":1}x',
    b'{"user_id":"' + b"a" * (MAX_ID_BYTES + 1) + b'"}',
    b'{"user_id":"' + b"a" * BIG + b'"}',
]


def by_model(content: bytes) -> tuple[object, int] | None:
    """A user and how many items, if the body says nothing else; None: it says more, or has a fault."""
    try:
        body = schemas.parsed(schemas.RecommendBody, content)
    except RequestError:
        return None
    return (body.user_id, body.k) if body.model_fields_set <= {"user_id", "k"} and body.user_id is not None else None


@pytest.mark.parametrize("content", PLAIN)
def test_plain_bodies_are_read_as_others_are(content: bytes) -> None:
    plain = schemas.plain_recommend(content)
    assert plain is not None
    assert (plain.user_id, plain.k) == by_model(content)


@pytest.mark.parametrize("content", OTHERS)
def test_nothing_is_said_of_other_bodies(content: bytes) -> None:
    assert schemas.plain_recommend(content) is None


def test_whatever_is_read_is_what_the_model_reads() -> None:
    seed = random.randrange(2**32)
    print(f"seed {seed}")
    rng, read = random.Random(seed), 0
    for _ in range(4000):
        content = bytearray(rng.choice(PLAIN))
        for _ in range(rng.randrange(4)):
            at = rng.randrange(len(content))
            content[at : at + rng.randrange(2)] = rng.choice([b"", b"1", b'"', b"\\", b"e", b".", b"-", b" ", b"\x80"])
        plain = schemas.plain_recommend(bytes(content))
        if plain is not None:
            read += 1
            assert (plain.user_id, plain.k) == by_model(bytes(content)), bytes(content)
    assert read > 100


@pytest.mark.parametrize("user", [3, "3", 999_999_999])
def test_plain_questions_are_answered_as_others(both: Both, user: int | str) -> None:
    plain = both.http.post("/v1/recommend", json={"user_id": user, "k": 4})
    other = both.http.post("/v1/recommend", json={"user_id": user, "k": 4, "explain": False})
    assert plain.status_code == other.status_code == 200
    assert plain.json() == other.json()
    strings = both.http.post("/v1/recommend", params={"ids": "string"}, json={"user_id": user, "k": 4}).json()
    assert [one["id"] for one in strings["items"]] == [str(one["id"]) for one in plain.json()["items"]]


def test_a_plain_question_is_continued_by_its_cursor(both: Both) -> None:
    first = both.http.post("/v1/recommend", json={"user_id": 5, "k": 4}).json()
    second = both.http.post("/v1/recommend", json={"user_id": 5, "k": 4, "cursor": first["next_cursor"]}).json()
    whole = both.http.post("/v1/recommend", json={"user_id": 5, "k": 8}).json()
    assert [*first["items"], *second["items"]] == [
        {**one, "rank": one["rank"] if place < 4 else one["rank"] - 4} for place, one in enumerate(whole["items"])
    ]


def test_faults_are_those_of_the_same_question_with_more_in_it(both: Both) -> None:
    for user in ("no number", 2**63, "", True):
        plain, other = (
            both.http.post("/v1/recommend", content=json.dumps({"user_id": user, **more})).json()
            for more in ({}, {"explain": False})
        )
        for problem in (plain, other):
            del problem["request_id"]
        assert plain == other


def test_heads_are_those_of_the_same_question_with_more_in_it(both: Both) -> None:
    for user, status in ((3, 200), ("no number", 422)):
        heads = []
        for more in ({}, {"explain": False}):
            answer = both.http.post(
                "/v1/recommend", json={"user_id": user, "k": 4, **more}, headers={"x-request-id": "mine-1"}
            )
            assert answer.status_code == status
            heads.append([(name, value) for name, value in answer.headers.multi_items() if name != "date"])
        assert heads[0] == heads[1]
        assert ("x-request-id", "mine-1") in heads[0]


def test_each_plain_question_has_an_id_of_its_own(both: Both) -> None:
    made = {both.http.post("/v1/recommend", json={"user_id": 3}).headers["x-request-id"] for _ in range(5)}
    assert len(made) == 5


def test_plain_questions_are_counted(both: Both) -> None:
    def counted(status: int) -> tuple[float, float]:
        text = both.http.get("/metrics").text
        series = f'{{route="/v1/recommend",status="{status}"}}'
        by_route = [line for line in text.splitlines() if line.startswith("rowbank_") and series in line]
        answered = [line for line in text.splitlines() if line.startswith("rowbank_model_answers_total{")]
        return sum(float(line.split()[-1]) for line in by_route if "_count" in line), sum(
            float(line.split()[-1]) for line in answered
        )

    before, refused = counted(200), counted(422)
    for user in (3, 3, 3, "no number"):
        both.http.post("/v1/recommend", json={"user_id": user})
    after = counted(200)
    assert (after[0] - before[0], after[1] - before[1]) == (3, 3)
    assert counted(422)[0] - refused[0] == 1
