"""`rowbank-train rating --schema`: ids in the tables that a schema says."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest

import rowbank
from rowbank_trainer.comparison.trials import TableKind
from rowbank_trainer.data import Dataset
from rowbank_trainer.errors import SchemaError, UsageError
from rowbank_trainer.rating.config import Model, RatingConfig
from rowbank_trainer.rating.declared import with_schema
from rowbank_trainer.rating.models import build_remote, build_static
from rowbank_trainer.rating.problem import prepare
from rowbank_trainer.schema import Schema, load_schema, parse_schema

pytestmark = pytest.mark.timeout(600)
QUICK = RatingConfig(epochs=1, batch_size=256, dim=8, learning_rate=0.01)
EXAMPLE = Path(__file__).parents[3] / "docs" / "examples" / "movielens.toml"


def declared(user: str = "", item: str = "") -> Schema:
    sections = "".join(f"[tables.{name}]\n{text}\n" for name, text in (("u", user), ("i", item)) if text)
    return parse_schema(f'[user.columns]\nu = "id"\nage = "numeric"\n[item.columns]\ni = "id"\n{sections}')


def test_tables_of_a_schema(small: Dataset) -> None:
    """Users in blocks of 5 and 8 numbers, items by quotient and remainder: parameters by hand."""
    schema = declared(
        'embedding = { kind = "mixed_dimension", shares = [0.25], dims = [8, 5] }',
        'embedding = { kind = "quotient_remainder", buckets = 20, combiner = "add" }',
    )
    config, unused = with_schema(QUICK, schema, tuple(Model), tuple(TableKind))
    assert unused == ["age of users (numeric)"]
    problem = prepare(small, config, 1)
    users, items = len(problem.user_ids), len(problem.item_ids)
    wide = round(users * 0.25)
    built = build_static(Model.SCHEMA, problem, config)
    blocks = (wide + 1) * 8 + (users - wide + 1) * 5 + (5 * 8 + 8)
    assert built.parameters() == blocks + (-(-items // 20) + 20) * 8


def test_rows_on_a_server_equal_numpy(small: Dataset, target: str) -> None:
    """With narrow server values, and the sum of quotient and remainder: five sigmoids of dot products, by hand."""
    schema = declared(
        'value_dtype = "float16"\ninitial_range = 0.5',
        'embedding = { kind = "quotient_remainder", buckets = 20, combiner = "add" }\ninitial_range = 0.25',
    )
    config, _ = with_schema(QUICK, schema, (Model.SCHEMA,), (TableKind.ROWBANK,))
    problem = prepare(small, config, 1)
    with rowbank.Client(target) as client:
        built = build_remote(Model.SCHEMA, problem, config, client, prefix="declared", seed=1)
        assert built.table_names == ("declared.schema.user", "declared.schema.item")
        users, items = (client.table(name) for name in built.table_names)
        assert users.spec.value_dtype == "float16"
        some_users, some_items = problem.user_ids[:50], problem.item_ids[:50]
        user = users.pull(some_users)
        item = items.pull(2 * (some_items // 20)) + items.pull(2 * (some_items % 20) + 1)
        assert np.abs(user).max() > 0.25
        expected = 5.0 / (1.0 + np.exp(-(user * item).sum(axis=1)))
        found = built.model.predict({"user_id": some_users, "item_id": some_items}, verbose=0)
        np.testing.assert_allclose(found[:, 0], expected, rtol=1e-5)


def test_the_example_is_enough() -> None:
    config, unused = with_schema(QUICK, load_schema(EXAMPLE), (Model.SCHEMA,), (TableKind.STATIC,))
    assert config.user_table is not None
    assert config.user_table.dim == 8
    assert unused[:2] == ["gender of users (categorical)", "age of users (numeric)"]


@pytest.mark.parametrize(
    ("schema", "error", "message"),
    [
        (declared("dim = 4"), SchemaError, "a rating is a product of two vectors of one width, got 4 for users and 8"),
        (declared('embedding = { kind = "unified", buckets = 9 }'), SchemaError,
         "[tables.u]: embedding: this job builds plain, quotient_remainder and mixed_dimension, got unified"),
        (declared(item="admission = { min_count = 2 }"), UsageError, "--tables static: [tables.i] has admission, "),
        (parse_schema('[user.columns]\na = "numeric"\n[item.columns]\ni = "id"'), SchemaError,
         "[user.columns]: this job goes by ids; expected a column of type 'id', got none"),
    ],
)  # fmt: skip
def test_what_the_job_does_not_build(schema: Schema, error: type[Exception], message: str) -> None:
    with pytest.raises(error) as caught:
        with_schema(dataclasses.replace(QUICK), schema, tuple(Model), tuple(TableKind))
    assert message in str(caught.value)
