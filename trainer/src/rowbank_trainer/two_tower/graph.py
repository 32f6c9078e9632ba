"""ONNX graphs, written node by node."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import helper, numpy_helper


@dataclass(slots=True)
class Graph:
    """Nodes and constants written so far; `tip` is the name of the latest value."""

    tip: str = ""
    nodes: list[onnx.NodeProto] = field(default_factory=list)
    constants: list[onnx.TensorProto] = field(default_factory=list)

    def constant(self, value: npt.ArrayLike, dtype: npt.DTypeLike = np.float32) -> str:
        """Adds a constant; returns its name."""
        name = f"constant/{len(self.constants)}"
        self.constants.append(numpy_helper.from_array(np.asarray(value, dtype=dtype), name))
        return name

    def add(self, operator: str, *inputs: str, **attributes: Any) -> str:
        """Adds a node with one output, which becomes the tip."""
        self.tip = f"value/{len(self.nodes)}"
        self.nodes.append(helper.make_node(operator, list(inputs), [self.tip], **attributes))
        return self.tip
