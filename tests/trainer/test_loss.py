"""The loss and its correction, against their formulas in NumPy."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import tensorflow as tf

import rowbank
from rowbank_trainer.data import Dataset
from rowbank_trainer.two_tower.config import TwoTowerConfig
from rowbank_trainer.two_tower.logq import TableFrequencies, counts_in_table, initial_log_q
from rowbank_trainer.two_tower.loss import in_batch_softmax
from rowbank_trainer.two_tower.probabilities import log_probabilities
from rowbank_trainer.two_tower.problem import prepare
from rowbank_trainer.two_tower.tables.remote import RemoteTables, named_tables


def by_formula(users, items, ids, log_q, temperature, remove, weights, positive=True) -> float:
    """Mean over i of -log(exp(s_ii) / sum_j exp(s_ij)) with s_ij = u_i.v_j / temperature - log q_j.

    Without `positive` s_ii = u_i.v_i / temperature, and log(B q_j) is taken off the others.
    """
    losses = []
    for i in range(len(users)):
        scores = [users[i] @ items[j] / temperature - log_q[j] for j in range(len(users))]
        if not positive:
            scores = [score - np.log(len(users)) for score in scores]
            scores[i] = users[i] @ items[i] / temperature
        kept = [j for j in range(len(users)) if j == i or not (remove and ids[j] == ids[i])]
        losses.append(-scores[i] + np.log(sum(np.exp(scores[j]) for j in kept)))
    return float(np.average(losses, weights=weights))


@pytest.mark.parametrize("remove", [True, False])
@pytest.mark.parametrize("weighted", [True, False])
@pytest.mark.parametrize("temperature", [1.0, 0.3])
@pytest.mark.parametrize("positive", [True, False])
def test_loss_is_the_corrected_softmax(remove: bool, weighted: bool, temperature: float, positive: bool) -> None:
    rng = np.random.default_rng(3)
    users, items = rng.normal(size=(2, 7, 4)).astype(np.float32)
    ids = np.array([5, 6, 5, 7, 8, 6, 5])
    log_q = np.log(rng.dirichlet(np.ones(7))).astype(np.float32)
    weights = np.float32([1, 0, 2, 0.5, 1, 3, 1]) if weighted else None
    loss = in_batch_softmax(
        tf.constant(users), tf.constant(items), tf.constant(ids), tf.constant(log_q), temperature=temperature,
        remove_accidental_hits=remove, correct_positive=positive,
        weights=None if weights is None else tf.constant(weights),
    )  # fmt: skip
    expected = by_formula(users, items, ids, log_q, temperature, remove, weights, positive)
    assert float(loss) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("positive", [True, False])
@pytest.mark.parametrize("weighted", [True, False])
def test_its_gradients_are_those_of_the_softmax_by_tensorflow(positive: bool, weighted: bool) -> None:
    rng = np.random.default_rng(8)
    users, items = (tf.constant(rng.normal(size=(9, 4)), tf.float32) for _ in "ui")
    ids = np.array([5, 6, 5, 7, 8, 6, 5, 1, 2])
    log_q = tf.constant(np.log(rng.dirichlet(np.ones(9))), tf.float32)
    weights = tf.constant(rng.random(9), tf.float32) if weighted else tf.ones(9)
    taken_off = np.tile(log_q + (0.0 if positive else np.log(9.0)), (9, 1))
    if not positive:
        np.fill_diagonal(taken_off, 0.0)
    copies = (ids[:, None] == ids[None, :]) & ~np.eye(9, dtype=bool)
    with tf.GradientTape(persistent=True) as tape:
        tape.watch([users, items])
        found = in_batch_softmax(
            users, items, tf.constant(ids), log_q, temperature=0.4, remove_accidental_hits=True,
            correct_positive=positive, weights=weights if weighted else None,
        )  # fmt: skip
        logits = tf.where(copies, -1e9, tf.matmul(users, items, transpose_b=True) / 0.4 - np.float32(taken_off))
        each = tf.nn.sparse_softmax_cross_entropy_with_logits(tf.range(9), logits)
        expected = tf.reduce_sum(each * weights) / tf.reduce_sum(weights)
    for vectors in (users, items):
        np.testing.assert_allclose(tape.gradient(found, vectors), tape.gradient(expected, vectors), atol=1e-5)


def test_a_batch_of_one_item_teaches_nothing() -> None:
    """No wrong answers: the loss is 0, and so are its gradients, not NaN."""
    vectors = tf.constant(np.random.default_rng(9).normal(size=(3, 2)), tf.float32)
    with tf.GradientTape() as tape:
        tape.watch(vectors)
        loss = in_batch_softmax(
            vectors, vectors, tf.constant([4, 4, 4]), tf.zeros(3), temperature=0.1, remove_accidental_hits=True
        )
    assert float(loss) == 0.0
    np.testing.assert_array_equal(tape.gradient(loss, vectors), np.zeros((3, 2)))


def test_a_factor_of_all_probabilities_changes_nothing() -> None:
    rng = np.random.default_rng(4)
    users, items = tf.constant(rng.normal(size=(2, 5, 4)), tf.float32)
    log_q = tf.constant(rng.normal(size=5), tf.float32)
    first, second = (
        float(in_batch_softmax(users, items, tf.range(5), shifted, temperature=0.5, remove_accidental_hits=True))
        for shifted in (log_q, log_q + 7.0)
    )
    assert first == pytest.approx(second, rel=1e-5)


def test_the_correction_makes_the_batch_stand_for_the_catalogue() -> None:
    """Mean over batches drawn by popularity: sum_j exp(s_j - log q_j) / B estimates the sum over all items."""
    rng = np.random.default_rng(5)
    scores, popularity = rng.normal(size=50), rng.dirichlet(np.full(50, 3.0))
    log_q = log_probabilities(popularity * 1e9, floor=1.0)
    drawn = rng.choice(50, size=400_000, p=popularity)
    assert np.mean(np.exp(scores[drawn] - log_q[drawn])) == pytest.approx(np.exp(scores).sum(), rel=0.02)


def test_with_the_positive_uncorrected_the_loss_is_that_of_the_whole_catalogue() -> None:
    """Mean over batches drawn by popularity of the sum in the loss: exp(s) of the right item and of all others."""
    rng = np.random.default_rng(6)
    popularity = rng.dirichlet(np.full(30, 3.0))
    vectors = rng.normal(size=(30, 4)).astype(np.float32)
    user, right = rng.normal(size=4).astype(np.float32), 3
    log_q = np.log(popularity).astype(np.float32)
    sums = []
    for _ in range(200):
        batch = np.concatenate([[right], rng.choice(30, size=400, p=popularity)])
        loss = in_batch_softmax(
            tf.constant(np.tile(user, (len(batch), 1))), tf.constant(vectors[batch]), tf.constant(batch),
            tf.constant(log_q[batch]), temperature=1.0, remove_accidental_hits=True, correct_positive=False,
            weights=tf.one_hot(0, len(batch)),
        )  # fmt: skip
        sums.append(np.exp(float(loss) + user @ vectors[right]))
    assert np.mean(sums) == pytest.approx(np.exp(vectors @ user).sum(), rel=0.02)


def test_probabilities_are_shares_with_a_floor() -> None:
    np.testing.assert_allclose(np.exp(log_probabilities([6, 2, 0], floor=0.5)), np.array([6, 2, 0.5]) / 8.5, rtol=1e-6)


def test_counts_of_items_are_those_that_explain_their_words() -> None:
    # Counts 4, 2, 3: word 10 is in the first two, word 20 in the last two, 30 in the first alone, 40 in the last.
    keys, frequency = np.array([30, 10, 20, 40, 0]), np.array([4, 6, 5, 3, 99], np.uint32)
    item_keys = np.array([[10, 30, 0], [10, 20, 0], [20, 40, 0]])
    np.testing.assert_allclose(counts_in_table(item_keys, keys, frequency), [4, 2, 3], rtol=0.1)


def test_items_without_rows_or_words_have_no_count() -> None:
    keys, frequency = np.array([10, 0]), np.array([6, 99], np.uint32)
    item_keys = np.array([[10, 0], [10, 50], [0, 0]])
    np.testing.assert_allclose(counts_in_table(item_keys, keys, frequency), [6, 0, 0])
    np.testing.assert_array_equal(counts_in_table(item_keys, keys[:0], frequency[:0]), [0, 0, 0])
    np.testing.assert_array_equal(counts_in_table(item_keys[:, :1], keys, frequency), [6, 6, 99])


def test_counts_are_those_of_the_data(small: Dataset, quick: TwoTowerConfig) -> None:
    problem = prepare(small, quick)
    log_q = initial_log_q(problem, quick)
    counts = np.array([(problem.train.item_ids == item).sum() for item in problem.catalogue.item_ids])
    np.testing.assert_allclose(np.exp(log_q), np.maximum(counts, 0.1) / np.maximum(counts, 0.1).sum(), rtol=1e-5)
    assert not initial_log_q(problem, dataclasses.replace(quick, logq="none")).any()


def test_the_table_s_frequencies_become_the_correction(
    small: Dataset, quick: TwoTowerConfig, target: str, table_name: str
) -> None:
    """A table by id counts what the data has; read at steps 1, 2, 4, then every 5th."""
    bare = dataclasses.replace(small, catalogue=dataclasses.replace(small.catalogue, titled=False))
    config = dataclasses.replace(quick, logq="table", logq_refresh=5)
    problem = prepare(bare, config)
    names = named_tables(table_name, problem.plan)
    with rowbank.Client(target) as client:
        tables = RemoteTables(client, problem.plan, config, names, drawn_as=names)
        watch = TableFrequencies(tables, problem, config)
        model = type("Model", (), {"log_q": tf.Variable(np.zeros(len(problem.catalogue), np.float32))})()
        watch.set_model(model)
        ids = problem.train.item_ids
        client.table(f"{table_name}.item").push(ids, np.zeros((len(ids), config.dim), np.float32))
        read = []
        for step in range(1, 16):
            model.log_q.assign(tf.zeros_like(model.log_q))
            watch.on_train_batch_end(0)
            if tf.reduce_any(model.log_q != 0):
                read.append(step)
        assert read == [1, 2, 4, 5, 10, 15]
        expected = log_probabilities(problem.item_counts, floor=1.0)
        np.testing.assert_allclose(model.log_q.numpy(), expected, rtol=1e-6)
