"""A client, or the server, of sparse tables of PaddlePaddle's fleet: its parameter server over brpc, on the CPU.

Pushes are asynchronous in fleet: a thread of the client sends them. So some calls are timed together, until the
server shows what the last of them pushed.
"""

from __future__ import annotations

import os
import time
from typing import Any

from .lines import own_output, serve
from .work import ACCUMULATOR, BATCHES, RATE, Work

_TOGETHER = 10  # Calls that are timed together.
_FILL = 16_384
_ENDLESS = 1e30
_SHARDS_OF_A_CORE = 4  # Of the 1000 that fleet takes, each is a task of its own: a pull takes more than twice as long.
# What fleet sets if nothing is said, and that a push is sent at once; waiting to merge some suits many small ones.
_CLIENT_FLAGS = (
    "-max_body_size=314217728 -bthread_concurrency=40 -socket_max_unwritten_bytes=2048000000"
    " -max_connection_pool_size=1950 -pserver_push_sparse_merge_limit=0 -pserver_async_push_sparse_interval_ms=1"
)


def main() -> None:
    """The client of the number -1 is the server."""
    work = Work.given()
    serving = work.client < 0
    answers = own_output()
    os.environ |= {
        "TRAINING_ROLE": "PSERVER" if serving else "TRAINER",
        "PADDLE_PSERVERS_IP_PORT_LIST": f"127.0.0.1:{work.server['port']}",
        "PADDLE_TRAINERS_NUM": str(work.clients),
        "PADDLE_TRAINER_ID": str(max(0, work.client)),
        "POD_IP": "127.0.0.1",
        "PADDLE_PORT": str(work.server["port"]),
        "GLOG_minloglevel": "3",
    }
    import paddle
    from paddle.distributed import fleet

    paddle.enable_static()
    fleet.init(is_collective=False)
    model = _Model(work, paddle, fleet)
    if serving:
        fleet.init_server()
        print("ready", file=answers, flush=True)
        fleet.run_server()
        return
    model.connect()
    client = _Client(work, model)
    if work.client == 0:
        client.fill()
    acts = {"time": client.timed, "run": client.run, "batch": client.batch}
    serve({}, lambda keys: client.read(keys).tolist(), acts=acts, answers=answers)
    os._exit(0)  # Fleet waits for every other client.


class _Model:
    """The program of a training step, and of its parts alone; its tables are made of it by the server, too."""

    def __init__(self, work: Work, paddle: Any, fleet: Any) -> None:
        self._work, self._paddle, self._fleet = work, paddle, fleet
        keys = paddle.static.data("keys", [-1, 1], "int64")
        rows = [
            paddle.static.nn.sparse_embedding(
                keys, [work.rows, work.dim], param_attr=paddle.ParamAttr(name=name)
            ) for name in work.tables
        ]  # fmt: skip
        loss = sum((paddle.sum(row) for row in rows), paddle.zeros([]))
        optimizer = paddle.optimizer.Adam(learning_rate=RATE)  # Of the dense part, of which there is none.
        fleet.distributed_optimizer(optimizer, self._strategy()).minimize(loss)
        self._whole = paddle.static.default_main_program().global_block()

    def _strategy(self) -> Any:
        strategy = self._fleet.DistributedStrategy()
        strategy.a_sync = True
        for name in self._work.tables:
            table = strategy.sparse_table_configs.add()
            table.table_name = name
            table.table_class = "MemorySparseTable"
            table.shard_num = _SHARDS_OF_A_CORE * self._work.cores
            accessor = table.accessor
            accessor.accessor_class = "SparseAccessor"
            accessor.fea_dim, accessor.embedx_dim = self._work.dim + 2, self._work.dim - 1
            accessor.embedx_threshold = 0
            for rule in (accessor.embed_sgd_param, accessor.embedx_sgd_param):
                if self._work.optimizer == "adagrad":
                    rule.name = "StdAdaGradSGDRule"  # A sum for each element; the other one has one for each row.
                    told = rule.adagrad
                    told.initial_g2sum = ACCUMULATOR
                else:
                    rule.name = "SparseAdamSGDRule"
                    told = rule.adam
                    told.beta1_decay_rate, told.beta2_decay_rate, told.ada_epsilon = 0.9, 0.999, 1e-7
                told.learning_rate, told.initial_range = RATE, 0.1
                told.weight_bounds.extend([-_ENDLESS, _ENDLESS])
        return strategy

    def connect(self) -> None:
        """Of a client: reaches the server, once that is there."""
        builder = self._fleet.fleet._runtime_handle.ps_desc_builder
        build = builder.build_worker_desc
        builder.build_worker_desc = lambda: build() + f'\ninit_gflags: "{_CLIENT_FLAGS}"\n'
        self.executor = self._paddle.static.Executor(self._paddle.CPUPlace())
        self.executor.run(self._paddle.static.default_startup_program())
        self._fleet.init_worker()

    def program(self, what: str) -> tuple[Any, list[str]]:
        """The operations of a pull, a push or a step, without a model's, and the names of the rows pulled."""
        program = self._paddle.static.Program()
        block = program.global_block()
        keys = block.create_var(name="keys", shape=[-1, 1], dtype="int64", is_data=True)
        pushes = {op.attr("table_id"): op for op in self._whole.ops if op.type == "distributed_push_sparse"}
        rows = []
        for pull in [op for op in self._whole.ops if op.type == "distributed_lookup_table"]:
            weights = block._clone_variable(self._whole.var(pull.input("W")[0]))
            if what != "push":
                rows.append(self._pull(block, pull, keys, weights))
            if what != "pull":
                self._push(block, pushes[pull.attr("table_id")], keys, weights)
        return program, rows

    def _pull(self, block: Any, pull: Any, keys: Any, weights: Any) -> str:
        out = self._matrix(block, f"{weights.name}_rows")
        block.append_op(
            type="distributed_lookup_table", inputs={"Ids": [keys], "W": weights}, outputs={"Outputs": [out]},
            attrs=_attributes(pull, "is_distributed", "padding_idx", "table_id", "lookup_table_version"),
        )  # fmt: skip
        return str(out.name)

    def _push(self, block: Any, push: Any, keys: Any, weights: Any) -> None:
        gradient = self._matrix(block, "gradient", is_data=True)
        # Fleet multiplies what it is given by the batch, in place, as if it were the gradient of a mean.
        copy = self._matrix(block, f"{weights.name}_gradient")
        scale = {"scale": 1.0 / self._work.batch, "bias": 0.0, "bias_after_scale": True}
        block.append_op(type="scale", inputs={"X": gradient}, outputs={"Out": copy}, attrs=scale)
        show, click = (self._constant(block, name, value) for name, value in (("show", 1.0), ("click", 0.0)))
        block.append_op(
            type="distributed_push_sparse",
            inputs={"Ids": [keys], "W": weights, "Outputs": [copy], "Shows": show, "Clicks": click},
            outputs={"Outputs": [copy]},
            attrs=_attributes(push, "is_distributed", "padding_idx", "table_id", "size", "use_cvm_op", "slots"),
        )  # fmt: skip

    def _matrix(self, block: Any, name: str, *, is_data: bool = False) -> Any:
        return block.create_var(name=name, shape=[-1, self._work.dim], dtype="float32", is_data=is_data)

    def _constant(self, block: Any, name: str, value: float) -> Any:
        made = block.create_var(name=name, shape=[1], dtype="float32")
        attributes = {"shape": [1], "dtype": made.dtype, "value": value}
        block.append_op(type="fill_constant", outputs={"Out": made}, attrs=attributes)
        return made


def _attributes(op: Any, *names: str) -> dict[str, Any]:
    return {name: op.attr(name) for name in names}


class _Client:
    def __init__(self, work: Work, model: _Model) -> None:
        self._work, self._model = work, model
        self._programs = {what: model.program(what) for what in ("pull", "push", "step")}
        self._batches, self._gradients = work.batches(), work.gradients()

    def fill(self) -> None:
        """Pushes zeros for every row: a row is whole only after its first push."""
        import numpy as np

        for start in range(0, self._work.rows, _FILL):
            keys = np.arange(start, min(start + _FILL, self._work.rows))
            self._call("step", keys, np.zeros((len(keys), self._work.dim), np.float32))
        while not self.read(keys)[:, 1:].all():
            pass  # Only its first number is there before the push.

    def batch(self, number: int) -> list[int]:
        found: list[int] = self._batches[number].tolist()
        return found

    def read(self, keys: Any) -> Any:
        """[keys, dim] rows of the first table."""
        import numpy as np

        program, rows = self._programs["pull"]
        feed = {"keys": np.asarray(keys, np.int64)[:, None]}
        return self._model.executor.run(program, feed=feed, fetch_list=rows[:1])[0]

    def timed(self, what: str, count: int, first: int) -> list[float]:
        """Seconds of each call: of some together, until all they pushed is there, divided by their number."""
        seconds: list[float] = []
        for start in range(first, first + count, _TOGETHER):
            calls = min(_TOGETHER, first + count - start)
            took = self._took(what, range(start, start + calls))
            seconds += [took / calls] * calls
        return seconds

    def run(self, what: str, begin: float, seconds: float) -> tuple[int, float]:
        """Calls one after the other from `begin` on for about `seconds`, until all they pushed is there."""
        time.sleep(max(0.0, begin - time.monotonic()))
        done, started = 0, time.monotonic()
        while time.monotonic() - started < seconds:
            self._took(what, range(done, done + _TOGETHER), wait=False)
            done += _TOGETHER
        self._took(what, range(done, done + 1))
        return done + 1, time.monotonic() - started

    def _took(self, what: str, numbers: range, *, wait: bool = True) -> float:
        last = self._batches[numbers[-1] % BATCHES]
        ends = last[[0, -1]]
        before = self.read(ends) if wait and what != "pull" else None
        started = time.perf_counter()
        for number in numbers:
            self._call(what, self._batches[number % BATCHES], self._gradients)
        while before is not None and (self.read(ends) == before).all(axis=1).any():
            pass  # One of the two rows has not moved.
        return time.perf_counter() - started

    def _call(self, what: str, keys: Any, gradients: Any) -> None:
        program, _ = self._programs[what]
        feed = {"keys": keys[:, None]}
        if what != "pull":
            feed["gradient"] = gradients
        self._model.executor.run(program, feed=feed)


if __name__ == "__main__":
    main()
