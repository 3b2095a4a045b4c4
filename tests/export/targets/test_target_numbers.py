"""Targets, by hand: where an operation runs, in which words it is told, and what C source holds."""

import pathlib
import subprocess

import numpy as np
import pytest

from keras_moe.cli import export as command
from keras_moe.export.litert.convert import QUANTIZATIONS
from keras_moe.export.targets import c_source, edge_tpu, report, vela
from keras_moe.export.targets.operators import Operator, layer

pytestmark = pytest.mark.once


def test_the_layer_that_made_a_tensor():
    layers = ["pool", "top_k", "top"]
    assert layer("functional_12_1/top_k_1/Sum_2", layers) == "top_k"
    assert layer("functional_1/relu_1/Relu;functional_1/pool/Mean", layers) == "pool"
    assert layer("StatefulPartitionedCall:1", layers) == "StatefulPartitionedCall:1"


def test_what_vela_leaves_in_the_file_is_the_cpus():
    said = """
Warning (supported operators) operator: EXP, ofm: 'gate/Exp'
Reason: Operation has tensor with unsupported DataType Float32 (x)
Feature-map dataTypes must be one of {"INT8"}

"""
    before = [Operator("CONV_2D", "conv", True), Operator("EXP", "gate/Exp", False)]
    after = [
        Operator("CUSTOM:ethos-u", "conv", True),
        Operator("EXP", "gate/Exp", False),
        Operator("CAST", "new", True),
    ]
    conv, exp, new = vela._placed(before, after, said)
    assert (conv.place, conv.reason) == ("NPU", "")
    assert (exp.place, exp.reason) == ("CPU", "Operation has tensor with unsupported DataType Float32 (x)")
    assert (new.kind, new.place, new.reason) == ("CAST", "CPU", "Vela does not say why")


def test_the_edge_tpu_goes_by_its_list():
    assert edge_tpu.reason("CONV_2D", True) == ""
    assert "no such operation" in edge_tpu.reason("IF", True)
    assert "int8 alone" in edge_tpu.reason("CONV_2D", False)


@pytest.mark.parametrize(
    ("quantize", "form", "way_out"),
    [(None, "parts", "quantize='int8'"), ("int8", "routed", "form='parts'"), ("int8", "parts", "other layers")],
)
def test_what_falls_off_is_named_with_the_way_out(quantize, form, way_out):
    graphs = {
        "trunk": {"operators": [{"operation": "GELU", "layer": "mlp", "place": "CPU", "reason": "not there"}]},
        "router": {"operators": [{"operation": "EXP", "layer": "top_k", "place": "CPU", "reason": "float"}]},
    }
    said = report.left({"name": "ethos-u55-128", "graphs": graphs}, {"quantize": quantize, "form": form})
    assert "GELU of 'mlp' (trunk: not there)" in said
    assert way_out in said
    assert ("EXP" in said) == (form != "parts"), "the router of parts is the CPU's"


def test_nothing_falls_off():
    graphs = {"trunk": {"operators": [{"operation": "ADD", "layer": "x", "place": "NPU", "reason": ""}]}}
    assert report.left({"name": "edgetpu", "graphs": graphs}, {"quantize": "int8", "form": "parts"}) == ""


def test_the_command_offers_every_target():
    assert command.TARGETS == report.TARGETS


def test_the_command_offers_every_quantization():
    assert (None, *command.QUANTIZED) == QUANTIZATIONS


DESCRIBED = {"name": "pets */", "form": "routed", "quantize": "int8", "license": "CC0-1.0", "num_experts": 2}
PROGRAM = """
#include <stdio.h>
#include <string.h>
#include "two pets.h"
int main(void) {
  const two_pets_graph* g = &two_pets_graphs[0];
  printf("%d %d %zu %d %d %d %s", two_pets_graphs[0].data[2], (int)((size_t)g->data % 16), g->bytes, g->input->shape[1],
         g->output[TWO_PETS_ROUTE_OUTPUT].zero_point, TWO_PETS_ARENA_BYTES + TWO_PETS_FLOATS, two_pets_labels[1]);
  return 0;
}
"""


def test_c_source_compiles_and_holds_what_was_exported(monkeypatch, tmp_path):
    def tensor(name, *shape):
        return {"name": name, "shape": [*shape], "dtype": "int8", "scale": 0.5, "zero_point": -3}

    sides = {"inputs": [tensor("images", 1, 8, 8, 1)], "outputs": [tensor("prediction", 1, 2), tensor("route", 1, 2)]}
    monkeypatch.setattr(c_source, "tensors", lambda data: sides)
    data = bytes(np.arange(100, dtype="uint8"))
    for name, text in c_source.sources(
        "two pets", {"model": data}, {"model": 640}, DESCRIBED, ["cat", 'a "dog"']
    ).items():
        (tmp_path / name).write_bytes(text)
    (tmp_path / "main.c").write_text(PROGRAM)
    compiler = next(
        (name for name in ("/usr/bin/cc", "/usr/bin/gcc", "/usr/bin/clang") if pathlib.Path(name).exists()), ""
    )
    if not compiler:
        pytest.skip("no C compiler")
    files = [str(tmp_path / name) for name in ("main.c", "two pets.c")]
    subprocess.run([compiler, "-Wall", "-Werror", "-o", str(tmp_path / "main"), *files], check=True)
    printed = subprocess.run([str(tmp_path / "main")], capture_output=True, text=True, check=True).stdout
    assert printed == '2 0 100 8 -3 708 a "dog"'
