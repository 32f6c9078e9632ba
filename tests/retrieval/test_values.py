"""Numbers over HTTP that would not come back as they were sent: one rule with the client's."""

from __future__ import annotations

import pytest
from tests.processes import until

from rowbank.features import FeatureField, FeatureView

FIELDS = (
    FeatureField("history", "int64_list"), FeatureField("score", "double"), FeatureField("count", "int64"),
    FeatureField("vector", "float_list"),
)  # fmt: skip


@pytest.fixture(scope="module")
def users(served):
    """The model's view of users with features of every kind of number, once the service knows them."""
    http, client = served
    client.features.put_view(FeatureView("users", "user_id", FIELDS))
    until(lambda: http.put("/v1/users/79", json={"features": {"score": 1.0}}).status_code == 200, what="the new view")
    return "users"


@pytest.mark.parametrize(
    ("features", "detail"),
    [
        ('{"score": 1e400}', "score of user_id 77: expected a finite number, got inf"),
        ('{"score": -1e400}', "score of user_id 77: expected a finite number, got -inf"),
        ('{"score": NaN}', "score of user_id 77: expected a finite number, got nan"),
        ('{"vector": [1.0, 1e300]}', "vector of user_id 77[1]: expected a finite float32, got 1e+300"),
        ('{"vector": [Infinity]}', "vector of user_id 77[0]: expected a finite float32, got inf"),
        ('{"count": 9223372036854775808}', "count of user_id 77: 9223372036854775808 does not fit into 64 bits"),
        ('{"count": 1.0}', "count of user_id 77: expected int64, got float 1.0"),
        ('{"history": [1, null]}', "history of user_id 77[1]: expected int64, got NoneType None"),
        (f'{{"score": {"9" * 400}}}', "score of user_id 77: expected a finite number, got an integer of 1329 bits"),
    ],
)
def test_numbers_that_would_not_come_back_are_refused(http, client, users, features, detail):
    answer = http.put("/v1/users/77", content='{"features": ' + features + "}")
    assert answer.status_code == 422, answer.text
    assert answer.json()["type"] == "urn:rowbank:problem:invalid-feature"
    assert detail in answer.json()["detail"]
    assert client.features.read(users, [77])[0].status == "not_found"


def test_what_is_taken_comes_back(http, users):
    given = {"score": 1e300, "count": -(2**63), "vector": [3.4028234663852886e38, 0.5], "history": [2**63 - 1]}
    assert http.put("/v1/users/78", json={"features": given}).status_code == 200
    assert http.get("/v1/users/78").json()["features"] == given
