"""A process of a TensorFlow cluster: the parameter server or a worker."""

from __future__ import annotations

import json
import sys

import tensorflow as tf


def main() -> None:
    """Serves until it is ended: {"cluster", "job", "index", "threads"}."""
    told = json.loads(sys.argv[1])
    # With one core TensorFlow takes one thread for its operations, of which those that wait for others are some.
    config = tf.compat.v1.ConfigProto(
        inter_op_parallelism_threads=max(8, told["threads"]), intra_op_parallelism_threads=told["threads"]
    )
    server = tf.distribute.Server(
        tf.train.ClusterSpec(told["cluster"]), told["job"], told["index"], protocol="grpc", config=config
    )
    print("ready", told["job"], flush=True)
    server.join()


if __name__ == "__main__":
    main()
