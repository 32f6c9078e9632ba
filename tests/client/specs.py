"""One of every initializer and optimizer, with no number at its default by chance."""

from __future__ import annotations

from rowbank import (
    FTRL,
    SGD,
    Adagrad,
    Adam,
    AdamW,
    Constant,
    Momentum,
    Normal,
    RMSprop,
    RowwiseAdagrad,
    TruncatedNormal,
    Uniform,
    Zeros,
)

INITIALIZERS = [
    Zeros(),
    Constant(0.1),
    Uniform(-0.3, 0.7, seed=2**64 - 1),
    Normal(0.1, 0.2, seed=1),
    TruncatedNormal(0.0, 0.3),
]
OPTIMIZERS = [
    SGD(0.5, clip_value=0.3),
    Momentum(0.1, 0.7, nesterov=True),
    Adagrad(0.1, max_norm=2.5),
    RowwiseAdagrad(0.1, initial_accumulator=0.0),
    Adam(0.3, 0.8, 0.9, epsilon=1e-5, amsgrad=True),
    AdamW(weight_decay=0.01),
    RMSprop(0.1, rho=0.7, momentum=0.1, centered=True),
    FTRL(0.1, learning_rate_power=-0.3, l1=0.1, l2=0.2, l2_shrinkage=0.3, beta=0.4),
]
