"""The one place that imports Keras: `keras` is the Keras 2 that TensorFlow 2.16 models and TFRA use.

Set TF_USE_LEGACY_KERAS=1 before TensorFlow is imported, so that `tf.keras` is the same package.
"""

import tf_keras as keras

__all__ = ["keras"]
