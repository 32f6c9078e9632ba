"""Tables that somebody holds are not dropped or cleared under them; versions that differ strongly are not activated."""

from __future__ import annotations

import dataclasses
import threading

import numpy as np
import pytest
from tests.client.test_frozen_tables import DIM, FILES, grown_table, manifest_over, name

__all__ = ["name"]
from tests.processes import until

from rowbank import Client, TableSpec, errors
from rowbank.features import FeatureField, FeatureView
from rowbank.models import DataFacts


def test_a_version_holds_its_tables_and_their_source(client, name):
    table, keys, _ = grown_table(client, name, rows=7)
    version = client.models.publish(manifest_over(name), FILES)
    (bound,) = client.models.get(name).manifest.tables
    holder = f"model {name} {version} (active)"
    for held in (name, bound.name):
        assert client.holders(held) == [holder]
        with pytest.raises(errors.TableHeld, match=version):
            client.drop_table(held)
    with pytest.raises(errors.TableHeld, match="not cleared"):
        table.clear()
    assert table.size() == len(keys)
    assert table.clear(force=True) == len(keys)
    assert client.drop_table(bound.name, force=True)
    assert client.drop_table(name, force=True)


def test_a_job_holds_tables_for_as_long_as_it_lives(client, name):
    with client.hold_tables("run 1 of a model", [name], run="m/1"):
        client.create_table(TableSpec(name, dim=2))  # A hold may come before the table.
        assert client.holders(name) == ["run 1 of a model (running)"]
        with pytest.raises(errors.TableHeld, match="run 1 of a model"):
            client.drop_table(name)
    assert client.holders(name) == []
    assert client.drop_table(name)


def test_a_hold_of_a_dead_job_ends_by_itself(client, name):
    client.create_table(TableSpec(name, dim=2))
    hold = client.hold_tables("dead", [name], ttl_s=0.3)
    hold._stop.set()  # As when its process was killed: nobody renews it, nobody releases it.
    until(lambda: client.holders(name) == [], what="the end of the hold")
    assert client.drop_table(name)


def test_a_hold_outlives_its_time_as_long_as_it_is_renewed(client, name):
    client.create_table(TableSpec(name, dim=2))
    seen = threading.Event()
    with client.hold_tables("alive", [name], ttl_s=0.4):
        threading.Timer(1.2, seen.set).start()
        while not seen.is_set():
            assert client.holders(name) == ["alive (running)"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"ttl_s": 0.0}, "ttl_s: expected seconds above 0"),
        ({"ttl_s": 1e9}, "ttl_s"),
        ({"holder": ""}, "holder: expected 1 to"),
    ],
)
def test_senseless_holds_are_refused(client, arguments, message):
    with pytest.raises(errors.InvalidRequest, match=message):
        client.hold_tables(**{"holder": "somebody", "tables": [], **arguments})


def test_a_live_version_knows_the_run_that_trains_its_table(client, name):
    with client.hold_tables("run 4", [name], run="m/4"):
        grown_table(client, name, rows=3)
        client.models.publish(manifest_over(name), FILES, rows="live")
    (bound,) = client.models.get(name).manifest.tables
    assert bound.trained_by == "m/4"


def test_two_shards_agree_on_who_holds(start_ps):
    targets = [start_ps("--shard", f"{shard}/2").target for shard in range(2)]
    with Client(targets) as client:
        table = client.create_table(TableSpec("t", dim=DIM))
        table.upsert(np.arange(100), np.ones((100, DIM), np.float32))
        with client.hold_tables("a job", ["t"]):
            with pytest.raises(errors.TableHeld):
                table.clear()
            with pytest.raises(errors.TableHeld):
                client.drop_table("t")
            assert table.size() == 100
        assert client.drop_table("t")


def facts(**changes) -> DataFacts:
    return dataclasses.replace(DataFacts("ml-100k", users=943, items=1682, interactions=80_000), **changes)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"data": facts(name="shop")}, "trained on 'shop', the active one on 'ml-100k'"),
        ({"data": facts(interactions=39_999)}, "39999 interactions"),
        ({"metrics": {"recall@20": 0.239}}, r"recall@20 is 0.239, that of the active one 0.3"),
    ],
)
def test_a_version_that_differs_strongly_is_activated_by_force_alone(client, name, change, message):
    grown_table(client, name, rows=3)
    first = dataclasses.replace(
        manifest_over(name), data=facts(), metrics={"recall@20": 0.3}, quality_metric="recall@20"
    )
    client.models.publish(first, FILES)
    second = dataclasses.replace(first, version="20260201T000000Z-0000", **change)
    with pytest.raises(errors.ModelDiffers, match=message):
        client.models.publish(second, FILES)
    assert client.models.get(name).manifest.version == first.version  # Stored, but not served.
    with pytest.raises(errors.ModelDiffers):
        client.models.activate(name, second.version)
    assert client.models.activate(name, second.version, force=True) == first.version
    assert client.models.roll_back(name) == first.version  # However it differs.


def test_a_version_much_like_the_active_one_needs_no_force(client, name):
    grown_table(client, name, rows=3)
    first = dataclasses.replace(
        manifest_over(name), data=facts(), metrics={"recall@20": 0.3}, quality_metric="recall@20"
    )
    client.models.publish(first, FILES)
    second = dataclasses.replace(
        first, version="20260201T000000Z-0000", data=facts(interactions=40_000), metrics={"recall@20": 0.241}
    )
    client.models.publish(second, FILES)
    assert client.models.get(name).manifest.version == second.version


def test_a_catalogue_without_half_of_the_items_needs_force(client, name):
    grown_table(client, name, rows=3)
    views = [f"{name.replace('-', '_')}_{number}" for number in range(2)]
    fields = (FeatureField("title", "string"), FeatureField("_removed", "bool"))
    for view, items in zip(views, [range(10), range(5, 20)], strict=True):
        client.features.put_view(FeatureView(view, "item_id", fields))
        client.features.write(view, {item: {"title": "x"} for item in items})
    client.features.write(views[1], {5: {"_removed": True}})  # Leaves 4 of the 10.
    first = dataclasses.replace(manifest_over(name), item_view=views[0], item_overlay="callers")
    client.models.publish(first, FILES)
    second = dataclasses.replace(first, version="20260201T000000Z-0000", item_view=views[1])
    with pytest.raises(errors.ModelDiffers, match="its catalogue has 4 of the 10 items of the active one, 14 in all"):
        client.models.publish(second, FILES)


def test_there_may_be_nothing_to_roll_back_to(client, name):
    grown_table(client, name, rows=3)
    with pytest.raises(errors.ModelNotFound, match="does not exist"):
        client.models.roll_back(name)
    client.models.publish(manifest_over(name), FILES)
    with pytest.raises(errors.ModelNotFound, match="no version was active before"):
        client.models.roll_back(name)


def versions_of(client, name, count, **changes):
    """Publishes versions 1 to `count`, with views of their own."""
    out = []
    for number in range(1, count + 1):
        view = f"{name.replace('-', '_')}_{number}_items"
        client.features.put_view(FeatureView(view, "item_id", (FeatureField("title", "string"),)))
        client.features.write(view, {1: {"title": "x"}})
        manifest = dataclasses.replace(
            manifest_over(name, f"2026010{number}T000000Z-0000"), item_view=view, item_overlay="callers", **changes
        )
        out.append(client.models.publish(manifest, FILES))
    return out


def test_pruning_keeps_the_newest_the_active_and_the_one_before_it(client, name):
    grown_table(client, name, rows=3)
    one, two, three, four, five, six = versions_of(client, name, 6)
    client.models.activate(name, one)
    client.models.activate(name, two)  # Then one is the version to roll back to.
    planned = client.models.prune(name, keep=2, dry_run=True)
    assert planned.versions == (four, three)
    assert len(client.models.list(name)) == 6
    done = client.models.prune(name, keep=2)
    assert done == planned
    assert [entry.manifest.version for entry in client.models.list(name)] == [six, five, two, one]
    tables = {info.spec.name for info in client.list_tables()}
    prefix = name.replace("-", "_")
    views = {view.name for view in client.features.list_views()}
    for number, version in enumerate((one, two, three, four, five, six), start=1):
        stays = version not in (three, four)
        assert (f"{name}/{version}.{name}" in tables) == stays
        assert (f"{prefix}_{number}_items" in views) == stays
    assert client.models.prune(name, keep=2).versions == ()


def test_pruning_forgets_runs_that_nobody_needs(client, name):
    """Runs 1 to 4 trained a table each; a version comes from run 1, a job has run 2, and of the others one is kept."""
    for run in range(1, 5):
        grown_table(client, f"{name}/{run}.user", rows=2)
    manifest = dataclasses.replace(manifest_over(name).renamed({name: f"{name}/1.user"}))
    client.models.publish(manifest, FILES)
    with client.hold_tables("run 2", [f"{name}/2.user"]):
        # All were created within the same second or two; the later name counts where they were.
        done = client.models.prune(name, keep=1)
    assert done.tables == (f"{name}/3.user",)
    assert done.bytes > 0
    left = {info.spec.name for info in client.list_tables() if info.spec.name.startswith(f"{name}/")}
    assert left == {f"{name}/{run}.user" for run in (1, 2, 4)} | {f"{name}/{manifest.version}.user"}


def test_pruning_needs_a_model_and_a_number(client, name):
    with pytest.raises(errors.ModelNotFound):
        client.models.prune(name)
    with pytest.raises(errors.InvalidRequest, match="keep: expected an integer of at least 1, got 0"):
        client.models.prune(name, keep=0)
