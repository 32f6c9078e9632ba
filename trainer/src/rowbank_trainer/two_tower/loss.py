"""The losses. The usual one: softmax over the items of the batch, corrected for how likely each is to be in one.

Popular items are in most batches and would be pushed away in proportion to their popularity. Taking the logarithm of an
item's probability off its logit makes the softmax over the batch an estimate of the one over the whole catalogue.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import tensorflow as tf


def in_batch_softmax(
    users: tf.Tensor,
    items: tf.Tensor,
    item_ids: tf.Tensor,
    log_q: tf.Tensor,
    *,
    temperature: float,
    remove_accidental_hits: bool,
    correct_positive: bool = True,
    hardest: int = 0,
    weights: tf.Tensor | None = None,
) -> tf.Tensor:
    """The mean loss of a batch, in which the right item of user i is item i.

    Right items are in their batch whatever their probability. Uncorrected, a right item's exp(logit) counts as it is,
    and those of the B items of the batch, each over B times its probability, estimate the sum over the catalogue.

    Args:
        users, items: [B, D] float32 vectors.
        item_ids: [B] integers that tell items apart.
        log_q: [B] float32 logarithms of the items' probabilities; where right items are corrected, too, adding a
            constant to all changes nothing.
        temperature: dot products are divided by it, before the correction.
        remove_accidental_hits: leave further copies of a user's right item out of its wrong ones.
        correct_positive: whether right items are corrected, too.
        hardest: so many wrong items with the highest logits of each user count; 0: all.
        weights: [B] float32 of at least 0: how much each pair counts in the mean; None: all alike.
    """
    right = tf.reduce_sum(users * items, axis=1) / temperature
    taken_off = log_q
    if correct_positive:
        right -= log_q
    else:
        taken_off += tf.math.log(tf.cast(tf.shape(items)[0], log_q.dtype))
    ids = item_ids if remove_accidental_hits else tf.range(tf.shape(items)[0])
    losses = _against(right, log_sum_exp(users / temperature, items, taken_off, _copies(ids, ids), hardest))
    return mean_loss(losses, weights)


def mean_loss(losses: tf.Tensor, weights: tf.Tensor | None) -> tf.Tensor:
    """The mean of [B] losses, by [B] weights if there are any."""
    if weights is None:
        return tf.reduce_mean(losses)
    return tf.math.divide_no_nan(tf.reduce_sum(losses * weights), tf.reduce_sum(weights))


def sampled_softmax(
    users: tf.Tensor,
    items: tf.Tensor,
    candidates: tf.Tensor,
    item_ids: tf.Tensor,
    candidate_ids: tf.Tensor,
    *,
    temperature: float,
    item_log_q: tf.Tensor | None = None,
    candidate_log_q: tf.Tensor | None = None,
    hardest: int = 0,
) -> tf.Tensor:
    """Softmax of each right item against candidates that all users share, [B] losses.

    Args:
        users, items: [B, D] float32 vectors, of users and of their right items.
        candidates: [N, D] float32 vectors. A copy of a user's right item does not count as a wrong one.
        item_ids, candidate_ids: [B] and [N] integers that tell items apart.
        item_log_q, candidate_log_q: [B] and [N] float32 logarithms of the items' chances of being a candidate, taken
            off the right items' logits and the candidates'; None: nothing is.
        hardest: so many candidates with the highest logits of each user count; 0: all.
    """
    right = tf.reduce_sum(users * items, axis=1) / temperature
    if item_log_q is not None:
        right -= item_log_q
    taken_off = tf.zeros_like(candidates[:, 0]) if candidate_log_q is None else candidate_log_q
    copies = _copies(item_ids, candidate_ids)
    return _against(right, log_sum_exp(users / temperature, candidates, taken_off, copies, hardest))


def log_sum_exp(
    users: tf.Tensor, candidates: tf.Tensor, taken_off: tf.Tensor, left_out: tf.Tensor, hardest: int = 0
) -> tf.Tensor:
    """Logarithm, for each user, of the sum of exp(user . candidate - taken_off) over the candidates: [B].

    Problem: there are B x N numbers, and automatic gradients go over them a dozen times. Idea: what the gradient needs
    are the summands, and the factors of a user's line are applied to its vector; so it is two products of matrices.

    Args:
        users, candidates: [B, D] and [N, D] float32.
        taken_off: [N] float32; no gradient is taken for it.
        left_out: [B, N] bool: who does not count. Of nobody the logarithm is -infinity.
        hardest: only so many of the largest summands of each user count, with all that equal the last of them; 0: all.
    """

    @tf.custom_gradient
    def summed(users: tf.Tensor, candidates: tf.Tensor) -> Any:
        logits = tf.linalg.matmul(users, candidates, transpose_b=True) - taken_off[None, :]
        logits = tf.where(left_out, tf.constant(-np.inf, logits.dtype), logits)
        if hardest:
            last = tf.math.top_k(logits, tf.minimum(hardest, tf.shape(logits)[1])).values[:, -1:]
            logits = tf.where(logits < last, tf.constant(-np.inf, logits.dtype), logits)
        highest = tf.reduce_max(logits, axis=1)
        highest = tf.where(tf.math.is_finite(highest), highest, tf.zeros_like(highest))
        summands = tf.exp(logits - highest[:, None])
        total = tf.reduce_sum(summands, axis=1)

        def gradient(upstream: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
            factors = tf.math.divide_no_nan(upstream, total)[:, None]
            by_user = factors * tf.linalg.matmul(summands, candidates)
            return by_user, tf.linalg.matmul(summands, factors * users, transpose_a=True)

        return highest + tf.math.log(total), gradient

    return summed(users, candidates)


def _against(right: tf.Tensor, wrong: tf.Tensor) -> tf.Tensor:
    """[B] losses: how far [B] logits of right items fall short of all of the softmax; `wrong` is the rest's, summed."""
    return tf.nn.softplus(wrong - right)


def drawn_log_q(log_q: tf.Tensor, catalogue: tf.Tensor, power: float) -> tf.Tensor:
    """Logarithms of some items' chances to be drawn in proportion to a probability to a power: [N] of [N].

    Args:
        catalogue: [M] float32, logarithms of the probabilities of all that are drawn from.
    """
    if not power:
        return tf.fill(tf.shape(log_q), -tf.math.log(tf.cast(tf.size(catalogue), log_q.dtype)))
    return power * log_q - tf.reduce_logsumexp(power * catalogue)


def mixed_log_q(log_q: tf.Tensor, drawn_as: tf.Tensor, *, in_batch: int, drawn: int) -> tf.Tensor:
    """Logarithms of the chance to be one of `in_batch` that are there with `log_q`, or of `drawn` with `drawn_as`."""
    part = in_batch / (in_batch + drawn)
    return tf.math.log(tf.exp(log_q) * part + tf.exp(drawn_as) * (1.0 - part))


def cosine_contrastive(
    users: tf.Tensor,
    items: tf.Tensor,
    candidates: tf.Tensor,
    item_ids: tf.Tensor,
    candidate_ids: tf.Tensor,
    *,
    margin: float,
    weight: float,
) -> tf.Tensor:
    """1 - cos of the right item, and `weight` times the mean of how far wrong ones are above `margin`: [B] losses."""
    right = tf.reduce_sum(users * items, axis=1)
    above = tf.nn.relu(tf.linalg.matmul(users, candidates, transpose_b=True) - margin)
    counted = 1.0 - tf.cast(_copies(item_ids, candidate_ids), above.dtype)
    number = tf.maximum(tf.reduce_sum(counted, axis=1), 1.0)
    return 1.0 - right + weight * tf.reduce_sum(above * counted, axis=1) / number


def pairwise(users: tf.Tensor, items: tf.Tensor, wrong: tf.Tensor, *, temperature: float) -> tf.Tensor:
    """BPR: -log sigmoid of how much the right item is above the one wrong item of the pair, [B, D] all: [B] losses."""
    return tf.nn.softplus(-tf.reduce_sum(users * (items - wrong), axis=1) / temperature)


def alignment_and_uniformity(users: tf.Tensor, items: tf.Tensor, *, gamma: float) -> tf.Tensor:
    """DirectAU: [B] squared distances of pairs, each with `gamma` times how far from evenly spread both kinds are."""

    def uniformity(vectors: tf.Tensor) -> tf.Tensor:
        squared = 2.0 - 2.0 * tf.linalg.matmul(vectors, vectors, transpose_b=True)
        size = tf.shape(vectors)[0]
        apart = tf.linalg.set_diag(-2.0 * squared, tf.fill([size], squared.dtype.min))
        return tf.reduce_logsumexp(apart) - tf.math.log(tf.cast(size * (size - 1), squared.dtype))

    alignment = tf.reduce_sum(tf.math.squared_difference(users, items), axis=1)
    return alignment + gamma * 0.5 * (uniformity(users) + uniformity(items))


def _copies(item_ids: tf.Tensor, candidate_ids: tf.Tensor) -> tf.Tensor:
    """[B, N] bool: the candidate is the user's right item."""
    return tf.equal(item_ids[:, None], candidate_ids[None, :])
