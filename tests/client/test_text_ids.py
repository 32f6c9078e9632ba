"""Features of entities whose ids are texts, in a real server."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from tests.colliding import FIRST, KEY, SECOND

from rowbank import Client, feature_files
from rowbank.errors import IdCollision, InvalidFeature
from rowbank.features import FeatureField, FeatureView
from rowbank.text import token_key
from rowbank.text_ids import ID_TEXT


def test_a_view_that_keeps_texts_of_ids_gets_them(target: str, table_name: str, tmp_path: Path) -> None:
    """By import as by `write`; another text under a key that is taken is refused, and nothing is written then."""
    with Client(target) as client:
        view, fields = (
            re.sub(r"\W", "_", f"v_{table_name}_texts")[-60:],
            (FeatureField("age", "int64"), FeatureField(ID_TEXT, "string")),
        )
        client.features.put_view(FeatureView(view, "user_id", fields))
        (tmp_path / "f.csv").write_text("user_id,age\nann,5\n007,6\n")
        feature_files.import_features(client, view, str(tmp_path / "f.csv"), text_ids=True)
        client.features.write(view, {"bob/1": {"age": 7}}, text_ids=True)
        reads = client.features.read(view, ["007", "bob/1", "ann", "7"], text_ids=True)
        assert [(read.values["age"], read.values[ID_TEXT]) for read in reads] == [
            (6, "007"),
            (7, "bob/1"),
            (5, "ann"),
            (0, ""),
        ]
        assert [read.entity for read in reads] == [token_key(text) for text in ("007", "bob/1", "ann", "7")]
        client.features.write(view, {FIRST: {"age": 1}}, text_ids=True)
        said = rf"ids {FIRST!r} and {SECOND!r} have the same key, {KEY}; nothing was written"
        for rows in ({"ann": {"age": 50}, SECOND: {"age": 1}}, {"ann": {"age": 50}, FIRST: {}, SECOND: {"age": 1}}):
            with pytest.raises(IdCollision, match=said):
                client.features.write(view, rows, text_ids=True)
        assert client.features.read(view, ["ann"], text_ids=True)[0].values["age"] == 5
        wrong: tuple[Any, ...] = ({7: {"age": 1}}, {"": {"age": 1}}, {"x" * 1025: {"age": 1}})
        for rows in wrong:
            with pytest.raises(
                InvalidFeature, match=r"entity: (expected a text|the text '' is empty|the text 'x.* has 1025)"
            ):
                client.features.write(view, rows, text_ids=True)
