"""Models of a schema as they are published, gone on from and served."""

from __future__ import annotations

import dataclasses
from io import StringIO
from pathlib import Path

import httpx
import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import numpy_helper
from rich.console import Console
from tests.processes import PATIENT, UpProcess, closing, until
from tests.trainer.by_hand import ByHand, Rows, mean
from tests.trainer.composed import TABLES, Vectors, composed
from tests.trainer.shop import COLOURS, NEWCOMER, schema, shop, words_of
from tests.trainer.test_schema_towers import CONFIG, padded

import rowbank
from rowbank import Admission, Eviction
from rowbank.text import token_key
from rowbank_trainer.data import Dataset
from rowbank_trainer.errors import TrainerError, UsageError
from rowbank_trainer.schema.spec import Column, Schema, Side
from rowbank_trainer.two_tower.config import Variant
from rowbank_trainer.two_tower.export import OUTPUT
from rowbank_trainer.two_tower.features import PAD_KEY
from rowbank_trainer.two_tower.job import Job, run
from rowbank_trainer.two_tower.problem import Problem, prepare
from rowbank_trainer.two_tower.publication import Publication


@pytest.fixture(scope="module")
def data() -> Dataset:
    return shop()


@pytest.fixture(scope="module")
def problem(data: Dataset) -> Problem:
    return prepare(data, CONFIG, schema())


def train(data: Dataset, out: Path, target: str, variant: Variant, **options) -> str:
    text = StringIO()
    settings = {"publication": Publication(publish=True), "schema": schema(), "config": CONFIG, **options}
    config, publication = settings.pop("config"), settings.pop("publication")
    job = Job(config, (variant,), False, target, publication, out, f"shop-{variant.value}", {}, **settings)
    run(job, data, Console(file=text, width=200))
    return text.getvalue()


@pytest.mark.timeout(600)
@pytest.mark.parametrize("variant", [Variant.STATIC, Variant.ROWBANK_TFRA, Variant.ROWBANK])
def test_what_is_published_computes_what_was_trained(
    data: Dataset, problem: Problem, tmp_path: Path, target: str, variant: Variant
) -> None:
    """Rows from the server by the manifest and the stored features, through the published towers."""
    train(data, tmp_path, target, variant)
    with rowbank.Client(target) as client:
        manifest = client.models.list(f"shop-{variant.value}")[0].manifest
        inputs = {part.name: part for part in (*manifest.query.inputs, *manifest.candidate.inputs)}
        views = {"user": manifest.user_view, "item": manifest.item_view}
        said = {name: (part.feature, part.kind, part.length, part.pad_key, part.newest)
                for name, part in inputs.items()}  # fmt: skip
        assert said == {
            "user_id": ("user_id", "keys", 0, 0, False),
            "colour": (f"{views['user']}:colour", "text_keys", 0, 0, False),
            "age": (f"{views['user']}:age", "numbers", 0, 0, False),
            "likes": (f"{views['user']}:likes", "keys", 2, PAD_KEY, False),
            "met": (f"{views['user']}:history", "keys", 5, PAD_KEY, True),
            "item_id": ("item_id", "keys", 0, 0, False),
            "group": (f"{views['item']}:group", "keys", 0, PAD_KEY, False),
            "price": (f"{views['item']}:price", "numbers", 0, 0, False),
            "words": (f"{views['item']}:words", "words", 3, 0, False),
            "related": (f"{views['item']}:related", "keys", 3, PAD_KEY, False),
        }  # fmt: skip
        assert inputs["met"].table == inputs["item_id"].table == inputs["related"].table
        assert inputs["likes"].table == inputs["group"].table

        def rows(table: str, keys: list[int]) -> np.ndarray:
            name = next(part.table for name, part in inputs.items() if name in (f"{table}_id", table))
            return client.table(name).lookup(np.array(keys, np.int64)).values

        hand = ByHand(problem, rows)
        stored = client.features.read(views["user"], [1, NEWCOMER, 2])
        assert stored[1].values["colour"] == COLOURS[NEWCOMER % 4]
        assert stored[2].values["colour"] == ""
        assert stored[2].values["age"] == pytest.approx(hand.age[0], rel=1e-6)
        items = client.features.read(views["item"], problem.catalogue.item_ids)
        assert problem.items is not None
        groups = problem.items.stored["group"]
        assert [item.values["group"] for item in items] == [group or 0 for group in groups]
        graph_file = client.models.read_file(manifest.name, manifest.version, "candidate.onnx")
        graph = onnxruntime.InferenceSession(graph_file)
        fed = {
            "item_id": rows("item", problem.catalogue.item_ids.tolist()),
            "group": np.array([padded(rows("group", [] if group is None else [group]), 1, 4)[0] for group in groups]),
            "price": np.array([[item.values["price"]] for item in items]),
            "words": np.array([padded(rows("words", words_of(item.values["words"])), 3, 5) for item in items]),
            "related": np.array([padded(rows("item", list(item.values["related"])), 3, 6) for item in items]),
        }
        before = np.array([hand.item(int(item)) for item in problem.catalogue.item_ids])
        assert {one.name for one in graph.get_inputs()} == set(fed)
    inputs_by_hand = np.concatenate(
        [fed["item_id"], fed["group"], (np.log1p(fed["price"]) - hand.price[0]) / hand.price[1],
         [mean(rows, 5) for rows in fed["words"]], [mean(rows, 6) for rows in fed["related"]]], axis=1,
    )  # fmt: skip
    np.testing.assert_allclose(inputs_by_hand, before, atol=1e-5)
    vectors = graph.run([OUTPUT], {name: np.asarray(part, np.float32) for name, part in fed.items()})[0]
    np.testing.assert_allclose(vectors, dense(graph_file, before), atol=1e-5)


def dense(file: bytes, inputs: np.ndarray) -> np.ndarray:
    """What two dense layers, the first with tanh, and the scaling to length one make of inputs; weights by a graph."""
    found = [numpy_helper.to_array(one) for one in onnx.load_from_string(file).graph.initializer]
    w1, b1, w2, b2 = [one for one in found if one.shape in ((inputs.shape[1], 7), (7,), (7, 5), (5,))]
    vectors = np.tanh(inputs @ w1 + b1) @ w2 + b2
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


KEPT = {
    "user": dataclasses.replace(TABLES["user"], value_dtype="float16"),
    "words": dataclasses.replace(TABLES["words"], eviction=Eviction("lfu", max_rows=500)),
    "colour": dataclasses.replace(TABLES["colour"], admission=Admission(min_count=2)),
}


@pytest.mark.timeout(600)
@pytest.mark.parametrize("declared", [schema(), composed(**KEPT)], ids=["plain", "composed"])
def test_the_service_answers_from_columns(data: Dataset, tmp_path: Path, declared: Schema) -> None:
    """Somebody who was trained on, somebody whom only the file knows, a stranger, and an item of raw values."""
    problem, plain = prepare(data, CONFIG, declared), declared == schema()
    server = UpProcess(
        "--data-dir", str(tmp_path / "data"), "--model", "shop-rowbank", log=tmp_path / "log", environment=PATIENT
    )
    with closing(server):
        server.wait_ready()
        train(
            data,
            tmp_path / "out",
            server.target,
            Variant.ROWBANK,
            publication=Publication(activate=True),
            schema=declared,
        )
        until(lambda: httpx.get(f"{server.http_url}/readyz").status_code == 200, what="the model is served")
        with rowbank.Client(server.target) as client:
            tables = {name: client.table(f"shop-rowbank/1.{name}") for name in problem.plan.table_names}
            if not plain:
                assert tables["user"].spec.value_dtype == "float16"
                assert (tables["words"].spec.eviction, tables["colour"].spec.admission) == (
                    KEPT["words"].eviction, KEPT["colour"].admission,
                )  # fmt: skip

            def stored(table: str, keys: list[int]) -> np.ndarray:
                return tables[table].lookup(np.array(keys, np.int64)).values

            rows: Rows = stored
            if not plain:
                rows = Vectors(problem, stored, kernels((tmp_path / "out" / "candidate.onnx").read_bytes()))
            hand = ByHand(problem, rows, problem.known, by_column=not plain)
            age, price = (33.0 - hand.age[0]) / hand.age[1], (np.log1p(12.5) - hand.price[0]) / hand.price[1]
            likes, met = hand.of("group", [2, 1], "likes").mean(axis=0), rows("item", [105, 117]).mean(axis=0)
            words = rows("words", [token_key("old"), token_key("big")]).mean(axis=0)
            users = {
                "known": hand.user(1),
                "newcomer": hand.user(NEWCOMER),
                "stranger": np.concatenate([np.zeros(6), rows("colour", [token_key("red")])[0], [age], likes, met]),
            }
            added = np.concatenate([np.zeros(6), hand.of("group", [3], "group")[0], [price], words, np.zeros(6)])
            items = np.array([*(hand.item(int(item)) for item in problem.catalogue.item_ids), added])
        body = {"features": {"group": 3, "price": 12.5, "words": "Old, big"}}
        httpx.put(f"{server.http_url}/v1/items/999", json=body).raise_for_status()
        asked: dict[str, dict] = {
            "known": {"user_id": 1},
            "newcomer": {"user_id": NEWCOMER},
            "stranger": {"features": {"colour": "red", "age": 33, "likes": [2, 1, 0], "history": [105, 117]}},
        }

        def best(name: str) -> list[dict]:
            answer = httpx.post(f"{server.http_url}/v1/recommend", json={**asked[name], "k": 41, "exclude_seen": False})
            assert answer.json().get("source") == "personal", answer.text
            return answer.json()["items"]

        until(lambda: any(item["id"] == 999 for item in best("known")), what="the new item is served")
        answers = {name: best(name) for name in users}
    vectors = dense((tmp_path / "out" / "candidate.onnx").read_bytes(), items)
    ids = [*problem.catalogue.item_ids.tolist(), 999]
    for name, inputs in users.items():
        scores = vectors @ dense((tmp_path / "out" / "query.onnx").read_bytes(), inputs[None])[0] / CONFIG.temperature
        expected = dict(zip(ids, scores.tolist(), strict=True))
        found = {item["id"]: item["score"] for item in answers[name]}
        assert found == pytest.approx({item: expected[item] for item in found}, abs=1e-3), name
        assert len(found) == 41


def scalars(file: bytes) -> list[float]:
    """The numbers in a graph that are no matrices: of scalings and weights."""
    found = [numpy_helper.to_array(one) for one in onnx.load_from_string(file).graph.initializer]
    return [float(one) for one in found if one.shape == () and one.dtype == np.float32]


def kernels(file: bytes) -> dict[str, np.ndarray]:
    """The projections of items' narrow blocks, by a graph."""
    found = [numpy_helper.to_array(one) for one in onnx.load_from_string(file).graph.initializer]
    return {f"item.{block}": next(one for one in found if one.shape == (width, 6)) for block, width in ((1, 4), (2, 2))}


@pytest.mark.timeout(600)
def test_going_on_needs_the_same_schema(data: Dataset, tmp_path: Path, start_ps) -> None:
    target = start_ps().target
    train(data, tmp_path / "a", target, Variant.ROWBANK)
    whole = schema()
    other = schema(item=Side((*whole.item.columns[:2], Column("price", "numeric"), *whole.item.columns[3:])))
    with pytest.raises(TrainerError, match=r"has another schema: item: columns: price: scale was 'log' and is 'stand"):
        train(data, tmp_path / "c", target, Variant.ROWBANK, going_on="latest", schema=other)
    with pytest.raises(TrainerError, match="has another schema"):
        train(data, tmp_path / "d", target, Variant.ROWBANK, going_on="latest", schema=None)
    relu = dataclasses.replace(CONFIG, activation="relu")
    with pytest.raises(TrainerError, match="has another schema: towers: activation was 'tanh' and is 'relu'"):
        train(data, tmp_path / "h", target, Variant.ROWBANK, going_on="latest", config=relu)
    # Numbers are scaled as at first, whatever these data have.
    assert data.users is not None
    ages = {"age": data.users.numbers["age"] + np.float32(50)}
    older = dataclasses.replace(data, users=dataclasses.replace(data.users, numbers=ages))
    later = train(older, tmp_path / "e", target, Variant.ROWBANK, going_on="latest")
    assert "Goes on from version" in later
    first, second = ((tmp_path / part / "query.onnx").read_bytes() for part in "ae")
    assert scalars(first) == scalars(second)
    declared = composed()
    train(data, tmp_path / "f", target, Variant.ROWBANK, schema=declared)
    fewer = dataclasses.replace(data, interactions=data.interactions.take(np.arange(600)))
    with pytest.raises(TrainerError, match="other values are frequent in these data"):
        train(fewer, tmp_path / "g", target, Variant.ROWBANK, going_on="latest", schema=declared)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("a b", "names of features are letters, digits and '_'"),
        (
            "history",
            "user column 'history' of type numeric is to be published, and a feature of that name",
        ),
    ],
)
def test_columns_that_cannot_be_published_are_refused_before_training(
    data: Dataset, tmp_path: Path, name: str, words: str
) -> None:
    assert data.users is not None
    named = dataclasses.replace(data.users, numbers={name: data.users.numbers["age"]})
    users = Side((Column("user_id", "id", table="user"), Column(name, "numeric")))
    with pytest.raises(UsageError, match=words):
        train(
            dataclasses.replace(data, users=named), tmp_path, "127.0.0.1:1", Variant.STATIC, schema=schema(
                user=users, tables={}
            ),
        )  # fmt: skip
