"""Schemas in TOML and in Python: what they say, and what is wrong with bad ones."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from rowbank import Admission, Eviction
from rowbank_trainer.errors import DataError, SchemaError
from rowbank_trainer.schema import (
    Column,
    MixedDimension,
    Plain,
    QuotientRemainder,
    Schema,
    Side,
    TableOptions,
    Unified,
    load_schema,
    parse_schema,
)

DOCS = Path(__file__).parents[3] / "docs"
WHOLE = """
[user]
combine = "concat"
[user.columns]
user_id = "id"
gender = { type = "categorical", dim = 8, default = "unknown" }
age = { type = "numeric", scale = "log", default = 30, dropout = 0.1 }
history = { type = "history", length = 50 }

[item.columns.item_id]
type = "id"
[item.columns.title]
type = "text"
length = 6
[item.columns.genres]
type = "categorical"
many = true
length = 4
separator = ";"
default = ["Drama", "War"]
table = "words"
[item.columns.related]
type = "related"
table = "item_id"
length = 20

[tables.item_id]
dim = 64
embedding = { kind = "quotient_remainder", buckets = 50 }
admission = { min_count = 2 }
eviction = { policy = "lfu", max_rows = 1000 }
value_dtype = "float16"
initial_range = 0.1
[tables.title]
embedding = { kind = "mixed_dimension", shares = [0.1, 0.3], dims = [32, 16, 8] }
[tables.words]
dim = 8
embedding = { kind = "unified", buckets = 1000, lookups = 4 }
"""


def whole() -> Schema:
    users = (
        Column("user_id", "id"),
        Column("gender", "categorical", default="unknown"),
        Column("age", "numeric", scale="log", default=30.0, dropout=0.1),
        Column("history", "history", table="item_id", length=50),
    )
    items = (
        Column("item_id", "id", table="item_id"),
        Column("title", "text", length=6),
        Column("genres", "categorical", table="words", many=True, length=4, separator=";", default=("Drama", "War")),
        Column("related", "related", length=20),
    )
    tables = {
        "item_id": TableOptions(
            64, QuotientRemainder(50), Admission(2), Eviction("lfu", max_rows=1000), "float16", 0.1
        ),
        "title": TableOptions(embedding=MixedDimension((0.1, 0.3), (32, 16, 8))),
        "words": TableOptions(8, Unified(1000, 4)),
        "gender": TableOptions(8),
    }
    return Schema(Side(users), Side(items), tables)


def test_a_file_says_what_python_says(tmp_path: Path) -> None:
    path = tmp_path / "schema.toml"
    path.write_text(WHOLE)
    schema = load_schema(path)
    assert schema == whole()
    assert schema.table_names == ("user_id", "gender", "item_id", "title", "words")
    assert schema.options("user_id") == TableOptions(None, Plain())
    assert [column.name for column in schema.user.from_files] == ["gender", "age"]


def test_importing_a_schema_is_cheap() -> None:
    script = (
        "import sys, rowbank_trainer.schema; sys.exit(bool({'tensorflow', 'pyarrow', 'tf_keras'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == 0


def schema_with(user: str = "", item: str = "", rest: str = "", top: str = "") -> str:
    return f"""
[user]
{top}
[user.columns]
user_id = "id"
{user}
[item.columns]
item_id = "id"
{item}
{rest}
"""


@pytest.mark.parametrize(
    ("text", "message"),
    [
        # Keys and sections.
        ("users = 1", "s.toml: top level: unknown key 'users', expected one of user, item, tables; did you mean user?"),
        ("[user.columns]\nu = 'id'", "s.toml: [item]: there is no such section; expected columns of items"),
        ("[user]\n[item]", "s.toml: [user.columns]: expected at least one column, such as the id, got none"),
        ("user = 3\n[item]", "s.toml: [user]: expected a table of keys, got 3"),
        ("x = ", "s.toml: cannot be read as TOML: Invalid value"),
        (schema_with("age = 3"), "[user.columns.age]: expected a table of keys, got 3"),
        (schema_with("a = { typ = 'numeric' }"), "[user.columns.a]: unknown key 'typ', expected one of type, table, "),
        (schema_with("a = { length = 3 }"), "[user.columns.a]: type: expected one of id, categorical, numeric, text, "),
        (schema_with("a = 'numerik'"), "[user.columns.a]: type: expected one of id, categorical, numeric, text, "
         "history, related, got 'numerik'; did you mean numeric?"),
        (schema_with(top="combin = 'mean'"), "[user]: unknown key 'combin', expected one of combine, columns; did you"),
        (schema_with(top="combine = 'sum'"), "[user]: combine: expected one of concat, mean, got 'sum'"),
        # Keys of other types.
        (schema_with("a = { type = 'text', length = 3, scale = 'log' }"),
         "[user.columns.a]: scale: is for columns of type numeric, got text"),
        (schema_with("a = { type = 'numeric', many = true }"), "many: is for columns of type categorical, got numeric"),
        (schema_with("a = { type = 'numeric', table = 'a' }"), "table: is for columns of type id or categorical or"),
        (schema_with("a = { type = 'categorical', separator = ';' }"), "separator: is for lists (many = true)"),
        (schema_with("h = { type = 'history', length = 3, default = 1 }"), "default: is for columns of type"),
        # Values.
        (schema_with("a = { type = 'text' }"), "[user.columns.a]: length: expected an integer from 1 to 4096, got 0"),
        (schema_with("a = { type = 'text', length = 5000 }"), "expected an integer from 1 to 4096, got 5000"),
        (schema_with("a = { type = 'text', length = true }"), "expected an integer from 1 to 4096, got True"),
        (schema_with("a = { type = 'categorical', length = 2 }"), "length: a categorical column without many = true"),
        (schema_with("a = { type = 'categorical', many = 1 }"), "many: expected true or false, got 1"),
        (schema_with("a = { type = 'numeric', scale = 'standart' }"), "expected one of standard, log, none, got "
         "'standart'; did you mean standard?"),
        (schema_with("a = { type = 'numeric', dropout = 1.0 }"), "dropout: expected a number from 0, below 1, got 1.0"),
        (schema_with("a = { type = 'categorical', weight = 0 }"), "weight: expected a number above 0, got 0"),
        (schema_with("a = { type = 'categorical', weight = 2 }"), "weight: counts only where combine = 'mean', got 2"),
        (schema_with("a = { type = 'categorical', table = 'a b' }"), "table: expected 1 to 64 letters, digits, '_' or"),
        (schema_with("'a:b' = { type = 'numeric' }"), "expected a name that does not begin with '_' and has no ':'"),
        (schema_with("a = { type = 'categorical', default = 1.5 }"), "default: expected an integer of 64 bits or a"),
        (schema_with("a = { type = 'categorical', default = [1] }"), "got [1]; many = true says that a value is a"),
        (schema_with("a = { type = 'categorical', many = true, length = 2, default = 1 }"), "expected a list of int"),
        (schema_with("a = { type = 'categorical', many = true, length = 2, default = [1, 'x'] }"), "got [1, 'x']"),
        (schema_with("a = { type = 'categorical', many = true, length = 2, default = [1, 2, 3] }"), "at most 2 values"),
        (schema_with("a = { type = 'numeric', default = 'old' }"), "default: expected a number, got 'old'"),
        (schema_with("a = { type = 'numeric', default = nan }"), "default: expected a number, got nan"),
        (schema_with("a = { type = 'numeric', default = -1, scale = 'log' }"), "expected a number of at least 0, got"),
        (schema_with("a = { type = 'text', length = 2, default = 3 }"), "default: expected a text that is not empty"),
        # Columns together.
        (schema_with("other = 'id'"), "s.toml: [user.columns]: column 'other': an entity has one id, and 'user_id' is"),
        (schema_with("a = 'numeric'", top="combine = 'mean'"), "column 'a': a number has no row to take a mean with"),
        (schema_with("a = { type = 'categorical', dim = 8 }", top="combine = 'mean'", rest="[tables.user_id]\ndim = 4"),
         "[user]: combine: a mean needs vectors of one width, got user_id 4, a 8"),
        (schema_with("r = { type = 'related', length = 3 }"),
         "[user.columns.r]: type 'related' is for columns of [item], not of [user]"),
        (schema_with(item="h = { type = 'history', length = 3 }"), "type 'history' is for columns of [user], not of"),
        (schema_with("h = { type = 'history', length = 3, table = 'h' }"),
         "[user.columns.h]: table: a history column has the rows of the item's id, expected 'item_id', got 'h'"),
        ("[user.columns]\nh = {type = 'history', length = 3}\n[item.columns]\nt = {type = 'text', length = 1}",
         "[user.columns.h]: type 'history' has the rows of item ids; add a column of type 'id' to [item]"),
        # Tables.
        (schema_with("a = { type = 'categorical', table = 't', dim = 4 }", "b = { type = 'categorical', table = 't', d"
         "im = 8 }"), "[item.columns.b]: dim: 8, but [user.columns.a] has the same table 't' with 4; give it once, in"),
        (schema_with("a = { type = 'categorical', dim = 4 }", rest="[tables.a]\ndim = 8"),
         "[user.columns.a]: dim: 4, but [tables.a] has 8"),
        (schema_with(rest="[tables.user]\ndim = 8"), "s.toml: [tables.user]: no column has this table, expected one of "
         "user_id, item_id; did you mean user_id?"),
        (schema_with(rest="[tables.user_id]\ndim = 0"), "[tables.user_id]: dim: expected an integer from 1 to 4096"),
        (schema_with(rest="[tables.user_id]\ndims = 3"), "[tables.user_id]: unknown key 'dims', expected one of dim, "),
        (schema_with(rest="[tables.user_id]\nvalue_dtype = 'float8'"), "[tables.user_id]: value_dtype: expected '"),
        (schema_with(rest="[tables.user_id]\ninitial_range = 0"), "initial_range: expected a number above 0, got 0"),
        (schema_with(rest="[tables.user_id.admission]\nmin_count = 0"), "[tables.user_id]: Admission.min_count: exp"),
        (schema_with(rest="[tables.user_id.admission]\ncount = 2"), "[tables.user_id]: admission: unknown key 'count'"),
        (schema_with(rest="[tables.user_id.eviction]\nmax_rows = 2"), "[tables.user_id]: Eviction: max_rows = 2 needs"),
        (schema_with(rest="[tables.user_id]\nembedding = 'hashed'"), "embedding: kind: expected one of plain, quo"),
        (schema_with(rest="[tables.user_id.embedding]\nkind = 'unified'"), "embedding: buckets: unified needs it, got"),
        (schema_with(rest="[tables.user_id.embedding]\nkind = 'quotient_remainder'\nbuckets = 1"),
         "[tables.user_id]: embedding: buckets: expected an integer from 2 to"),
        (schema_with(rest="[tables.user_id.embedding]\nkind = 'quotient_remainder'\nbuckets = 9\nlookups = 2"),
         "embedding: unknown key 'lookups', expected one of kind, buckets, combiner"),
        (schema_with(rest="[tables.user_id.embedding]\nkind = 'mixed_dimension'\nshares = [0.5]\ndims = [8]"),
         "dims: expected one more than shares, for the rest of the values, got 1 for 1 shares"),
        (schema_with(rest="[tables.user_id.embedding]\nkind = 'mixed_dimension'\nshares = [0.5, 0.5]\ndims = [8,4,2]"),
         "shares: expected less than 1 in all"),
        (schema_with(rest="[tables.user_id]\ndim = 9\nembedding = { kind = 'unified', buckets = 9, lookups = 2 }"),
         "dim: expected a multiple of the 2 lookups of unified, got 9"),
    ],
)  # fmt: skip
def test_wrong_schemas_say_where_and_what(text: str, message: str) -> None:
    with pytest.raises(DataError) as caught:
        parse_schema(text, "s.toml")
    assert str(caught.value).startswith("s.toml: ")
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_column_that_is_there_twice_is_refused() -> None:
    with pytest.raises(DataError, match=r"s\.toml: cannot be read as TOML: Cannot (overwrite|declare)"):
        parse_schema(schema_with("age = 'numeric'\nage = 'numeric'"), "s.toml")
    with pytest.raises(SchemaError, match="column 'a': there are two of this name"):
        Side((Column("a", "numeric"), Column("a", "categorical")))


def test_widths_that_the_job_gives_are_checked_with_the_job() -> None:
    mean = parse_schema(schema_with("a = { type = 'categorical', dim = 8 }", top="combine = 'mean'"))
    mean.check_dim(8)
    with pytest.raises(SchemaError, match=r"\[user\]: combine: a mean needs vectors of one width, got user_id 16, a 8"):
        mean.check_dim(16)
    unified = parse_schema(
        schema_with(rest="[tables.item_id]\nembedding = { kind = 'unified', buckets = 9, lookups = 3 }")
    )
    unified.check_dim(9)
    with pytest.raises(SchemaError, match=r"\[tables\.item_id\]: dim: expected a multiple of the 3 lookups.*got 8"):
        unified.check_dim(8)


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", (DOCS / "schema.md").read_text(), re.DOTALL)


def test_what_the_page_shows() -> None:
    movielens, shop = (parse_schema(text) for text in blocks("toml"))
    assert movielens == load_schema(DOCS / "examples" / "movielens.toml")
    assert all(load_schema(path) for path in (DOCS / "examples").glob("*.toml"))
    assert shop.user.columns[1] == Column("plan", "categorical", default="none")
    assert shop.options("sku") == TableOptions(embedding=QuotientRemainder(20), admission=Admission(2))
    names: dict[str, Any] = {}
    exec(blocks("python")[0], names)
    assert names["schema"].options("item_id") == TableOptions(64, QuotientRemainder(50))


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"no\.toml: cannot be read: No such file.*; expected a TOML file of columns"):
        load_schema(tmp_path / "no.toml")
    (tmp_path / "latin.toml").write_bytes(b"a = '\xe9'")
    with pytest.raises(DataError, match=r"latin\.toml: expected a TOML file, which is UTF-8 text"):
        load_schema(tmp_path / "latin.toml")
