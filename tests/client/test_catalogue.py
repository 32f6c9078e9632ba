"""Catalogues of versions: what a publication reports, and what it marks as removed, against a real server."""

from __future__ import annotations

import pytest
from tests.client.test_models_features import identity

from rowbank import Client, TableSpec, errors
from rowbank.catalogue import REMOVED, CatalogueReport, ViewNames, drop_catalogue, write_catalogue
from rowbank.features import FeatureField
from rowbank.models import ModelManifest, Tower, TowerInput

FILES = {"query.onnx": identity(4), "candidate.onnx": identity(4)}


@pytest.fixture
def model(client: Client, table_name: str) -> str:
    client.create_table(TableSpec(table_name, dim=4))
    return table_name


def publish(client: Client, model: str, version: str, titles: dict[int, str], read_at_s: float) -> CatalogueReport:
    """Publishes and activates a version whose files list `titles`."""
    items = {item: {"title": title} for item, title in titles.items()}
    report = write_catalogue(client, model, version, items=items, users={1: {"history": [10]}}, read_at_s=read_at_s)
    views = report.views
    query = Tower((TowerInput("rows", model, "user_id", dim=4),), "vector", "query.onnx")
    candidate = Tower((TowerInput("rows", model, "item_id", dim=4),), "vector", "candidate.onnx")
    manifest = ModelManifest(
        model, version, query, candidate, 4, read_at_s, views.item_view, views.user_view,
        item_overlay=views.item_overlay, user_overlay=views.user_overlay,
    )  # fmt: skip
    client.models.publish(manifest, FILES, rows="live", force=True)
    return report


def counts(report: CatalogueReport) -> tuple[int, int, int, int]:
    return report.added, report.changed, report.left, report.kept


def removed(client: Client, view: str) -> set[int]:
    entities = client.features.entities(view).tolist()
    return {row.entity for row in client.features.read(view, entities, [REMOVED]) if row.values[REMOVED]}


def test_a_publication_says_what_changes(client: Client, model: str) -> None:
    first = publish(client, model, "v1", {10: "ten", 11: "eleven", 12: "twelve"}, 1000.0)
    assert counts(first) == (3, 0, 0, 0)
    assert client.features.entities(first.views.item_view).tolist() == [10, 11, 12]
    second = publish(client, model, "v2", {10: "ten", 11: "eleven and a half", 13: "thirteen"}, 2000.0)
    assert counts(second) == (1, 1, 1, 0)
    assert removed(client, second.views.item_view) == {12}
    assert removed(client, first.views.item_view) == set()
    row = client.features.read(second.views.item_view, [11])[0]
    assert (row.values["title"], row.event_time_s) == ("eleven and a half", 2000.0)
    third = publish(client, model, "v3", {10: "ten", 12: "twelve"}, 3000.0)
    assert counts(third) == (1, 0, 2, 0)
    assert removed(client, third.views.item_view) == {11, 13}


def test_what_callers_wrote_later_than_the_files_stays(client: Client, model: str) -> None:
    overlay = publish(client, model, "v1", {10: "ten", 11: "eleven", 12: "twelve"}, 1000.0).views.item_overlay
    client.features.write(overlay, {20: {"title": "a caller's"}}, event_time_s=1100.0)
    client.features.write(overlay, {11: {"title": "a caller's eleven"}}, event_time_s=1500.0)
    client.features.write(overlay, {12: {"title": "a caller's twelve"}}, event_time_s=2500.0)
    client.features.write(overlay, {10: {REMOVED: True}}, event_time_s=2500.0)
    # Read at 2000: 20 is the caller's alone, 12 was written and 10 was deleted later than that; 11 was withdrawn.
    second = publish(client, model, "v2", {10: "ten", 13: "thirteen"}, 2000.0)
    assert counts(second) == (1, 0, 1, 3)
    assert removed(client, second.views.item_view) == {11}
    # The mark on 11 has to stay, for the caller's row of before is still there; 20 is still the caller's.
    third = publish(client, model, "v3", {13: "thirteen"}, 3000.0)
    assert removed(client, third.views.item_view) == {10, 11}
    assert counts(third) == (0, 0, 0, 2)
    # A caller writes 11 anew: it is the caller's from then on, whatever files say.
    client.features.write(overlay, {11: {"title": "back"}}, event_time_s=3500.0)
    fourth = publish(client, model, "v4", {13: "thirteen"}, 4000.0)
    assert removed(client, fourth.views.item_view) == {10}
    assert counts(fourth) == (0, 0, 0, 3)


def test_views_are_written_once(client: Client, model: str) -> None:
    publish(client, model, "v1", {10: "ten"}, 1000.0)
    with pytest.raises(errors.InvalidFeature, match="has its catalogue already; publish under another version"):
        write_catalogue(client, model, "v1", items={}, users={}, read_at_s=2000.0)


def test_a_catalogue_goes_if_its_version_does_not_come(client: Client, model: str) -> None:
    views = publish(client, model, "v1", {10: "ten"}, 1000.0).views
    drop_catalogue(client, views)  # Changes nothing: the version is stored.
    assert client.features.entities(views.item_view).tolist() == [10]
    with pytest.raises(errors.InvalidFeature, match=f"is read by model {model} v1, so it is not dropped"):
        client.features.drop_view(views.item_overlay)
    lost = write_catalogue(client, model, "v2", items={11: {"title": "eleven"}}, users={}, read_at_s=2000.0).views
    drop_catalogue(client, lost)
    with pytest.raises(errors.InvalidFeature):  # A title that is no text: nothing of the version is left either.
        write_catalogue(client, model, "v3", items={11: {"title": 11}}, users={}, read_at_s=2000.0)
    names = {view.name for view in client.features.list_views()}
    assert not names & {lost.item_view, lost.user_view, ViewNames.of(model, "v3").item_view}
    assert not client.features.drop_view(lost.item_view)
    # The same version can be tried again.
    assert publish(client, model, "v2", {11: "eleven"}, 2000.0).added == 1


def test_overlays_keep_the_features_that_callers_defined(client: Client, model: str) -> None:
    views = publish(client, model, "v1", {10: "ten"}, 1000.0).views
    known = {view.name: view for view in client.features.list_views()}
    extended = known[views.item_overlay]
    price = type(extended.fields[0])("price", "double")
    client.features.put_view(type(extended)(extended.name, "item_id", (*extended.fields, price)))
    publish(client, model, "v2", {10: "ten"}, 2000.0)
    after = {view.name: view for view in client.features.list_views()}[views.item_overlay]
    assert [field.name for field in after.fields] == ["title", REMOVED, "price"]


def test_a_feature_does_not_change_its_type_from_version_to_version(client: Client, model: str) -> None:
    """Callers may have written it with the type that it had; nothing is written, the overlay stays as it was."""

    def write(version: str, *fields: FeatureField) -> CatalogueReport:
        return write_catalogue(client, model, version, items={}, users={}, read_at_s=1000.0, item_fields=fields)

    views = write("v1", FeatureField("title", "string"), FeatureField("year", "double")).views
    overlay = client.features.view(views.item_overlay)
    with pytest.raises(
        errors.InvalidFeature, match=r"'year' is int64 in the new data and double in view .* type"
    ) as told:
        write("v2", FeatureField("title", "string"), FeatureField("new", "bool"), FeatureField("year", "int64"))
    assert told.value.metadata["feature"] == "year"
    assert client.features.view(views.item_overlay) == overlay
    assert ViewNames.of(model, "v2").item_view not in {view.name for view in client.features.list_views()}


def test_names_of_views_are_valid_and_apart() -> None:
    assert ViewNames.of("two_tower", "20260131T120000Z-1a2b") == ViewNames(
        "two_tower_20260131T120000Z_1a2b_items", "two_tower_20260131T120000Z_1a2b_users", "two_tower_items",
        "two_tower_users",
    )  # fmt: skip
    dashed, dotted = ViewNames.of("two-tower", "1"), ViewNames.of("two.tower", "1")
    assert len({dashed.item_overlay, dotted.item_overlay, "two_tower_items"}) == 3
    assert dashed.item_view.startswith("two_tower_")
    assert ViewNames.of("3d", "1").item_view.startswith("_3d_")
    assert len(ViewNames.of("m" * 128, "v" * 128).item_view) <= 128


def test_a_versions_file_can_be_read(client: Client, model: str) -> None:
    publish(client, model, "v1", {10: "ten"}, 1000.0)
    assert client.models.read_file(model, "v1", "query.onnx") == FILES["query.onnx"]
    assert client.models.read_file(model, "", "query.onnx") == FILES["query.onnx"]
    with pytest.raises(errors.ModelNotFound, match=r"has no file 'other'; its files: query.onnx, candidate.onnx"):
        client.models.read_file(model, "v1", "other")
    with pytest.raises(errors.ViewNotFound):
        client.features.entities("no_such_view")
