"""`rowbank models` and held tables, as an operator types them."""

from __future__ import annotations

import dataclasses

import pytest
from tests.client.test_frozen_tables import FILES, grown_table, manifest_over

from rowbank import Client


@pytest.fixture
def name(table_name) -> str:
    return table_name[-30:].lstrip("-")


@pytest.fixture
def two_versions(target, name):
    """The first is active."""
    with Client(target) as client:
        grown_table(client, name, rows=10)
        first = dataclasses.replace(
            manifest_over(name), metrics={"recall@20": 0.3}, quality_metric="recall@20", run="7",
            user_ids="string",
        )  # fmt: skip
        second = dataclasses.replace(first, version="20260201T000000Z-0000", metrics={"recall@20": 0.1})
        client.models.publish(first, FILES)
        client.models.publish(second, FILES, activate=False)
        yield first.version, second.version


def test_versions_are_listed_described_and_activated(rowbank, answer, name, two_versions):
    first, second = two_versions
    newest, oldest = answer("models", "list", name)
    assert newest in answer("models")
    assert (newest["version"], newest["active"], newest["rows_mode"]) == (second, False, "frozen")
    assert (oldest["version"], oldest["active"], oldest["rows"], oldest["run"]) == (first, True, 10, "7")
    assert oldest["quality"] == "recall@20 0.3000"
    assert oldest["bytes"] > 10 * 4 * 4
    described = answer("models", "describe", name)
    assert described[f"table {name}/{first}.{name}"] == f"10 rows of {name} at step 1"
    assert (described["user_ids"], described["item_ids"]) == ("string", "int64")
    refused = rowbank("models", "activate", name, second, code=1)
    assert "recall@20 is 0.1, that of the active one 0.3" in refused.stderr
    assert "force" in refused.stderr
    assert (
        rowbank("models", "activate", name, second, "--force").stdout == f"active: {name} {second} (before: {first})\n"
    )
    assert rowbank("models", "rollback", name).stdout == f"active: {name} {first}\n"


def test_traffic_is_split_shown_and_put_together_again(rowbank, answer, name, two_versions):
    first, second = two_versions
    alone = [{"version": first, "share": 1.0, "is": "active"}]
    assert answer("models", "traffic", name) == alone
    split = [{"version": first, "share": 0.75, "is": "active"}, {"version": second, "share": 0.25, "is": "shadow"}]
    assert answer("models", "traffic", name, f"{second}=0.25", "--shadow", second) == split
    assert answer("models", "traffic", name) == split
    assert [(entry["share"], entry["shadow"]) for entry in answer("models", "list", name)] == [
        (0.25, True),
        (0.75, False),
    ]
    assert "v9" in rowbank("models", "traffic", name, "v9=0.5", code=1).stderr
    for words in (["v2"], ["v2=a"], ["=1"], ["v2=0", "v2=1"], ["v2=1", "--clear"]):
        rowbank("models", "traffic", name, *words, code=2)
    assert answer("models", "traffic", name) == split
    assert answer("models", "traffic", name, "--clear") == alone


def test_pruning_says_what_goes_and_does_it(answer, target, name, two_versions):
    first, second = two_versions
    with Client(target) as client:
        third = dataclasses.replace(manifest_over(name), version="20260202T000000Z-0000")
        client.models.publish(third, FILES, activate=False)
    planned = answer("models", "prune", name, "--keep", "1", "--dry-run")
    assert (planned["versions"], planned["tables"]) == ([second], [f"{name}/{second}.{name}"])
    assert answer("models", "prune", name, "--keep", "1") == {**planned, "dry_run": False}
    assert [entry["version"] for entry in answer("models", "list", name)] == [third.version, first]


def test_a_held_table_is_dropped_by_force_alone(rowbank, answer, name, two_versions):
    first, _ = two_versions
    assert f"model {name} {first} (active)" in answer("table", "describe", name)["holders"]
    refused = rowbank("table", "drop", name, "--yes", code=1)
    assert f"model {name} {first} (active)" in refused.stderr
    assert rowbank("table", "drop", name, "--yes", "--force").stdout == f"dropped {name}\n"


def test_an_unknown_model_is_one_line(rowbank):
    refused = rowbank("models", "list", "no-such-model", code=1)
    assert "model 'no-such-model' does not exist; known models:" in refused.stderr
