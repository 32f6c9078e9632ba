"""The pages on TFRA and Keras: every test they name exists, and their programs run."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import tensorflow as tf
from tensorflow_recommenders_addons import dynamic_embedding as de

ROOT = Path(__file__).parents[2]
DEFINED = {
    name for path in Path(__file__).parent.glob("test_*.py") for name in re.findall(r"def (test_\w+)", path.read_text())
}


def test_named_tests_exist():
    named = set(re.findall(r"`(test_\w+)`", (ROOT / "docs/tfra.md").read_text()))
    assert len(named) > 30
    assert not named - DEFINED


def test_every_public_method_of_a_table_is_on_the_page():
    text = (ROOT / "docs/tfra.md").read_text()
    files = ["save_to_file_system", "load_from_file_system"]
    methods = ["lookup", "insert", "accum", "remove", "clear", "size", "export", *files]
    assert not [method for method in methods if f"`{method}`" not in text]


def test_every_public_method_of_a_variable_is_on_the_page():
    text = (ROOT / "docs/tfra.md").read_text()
    methods = [name for name, value in vars(de.Variable).items() if callable(value) and not name.startswith("_")]
    assert len(methods) > 12
    assert not [method for method in methods if f"`{method}`" not in text and f"`{method}(" not in text]


@pytest.mark.parametrize("page", ["tfra", "keras"])
def test_the_program_of_a_page_runs(page, target, monkeypatch):
    program = "\n".join(re.findall(r"```python\n(.*?)```", (ROOT / f"docs/{page}.md").read_text(), re.DOTALL))
    assert "127.0.0.1:7700" in program
    names: dict[str, object] = {}
    exec(compile(program.replace("127.0.0.1:7700", target), page, "exec"), names)
    model = names["model"]
    assert isinstance(model, tf.keras.Model)
    ids = tf.constant([1, 2], tf.int64)
    inputs = ids if page == "tfra" else [ids, tf.ones([2, 6], tf.int64)]
    model.fit(inputs, tf.constant([1.0, 0.0]), verbose=0)
    assert model.predict(inputs, verbose=0).shape == (2, 1)
