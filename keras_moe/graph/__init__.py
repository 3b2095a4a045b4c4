"""Graphs of functional models: their calls, places to cut, and models rebuilt from copied layers."""

from keras_moe.graph.calls import Call as Call
from keras_moe.graph.calls import Graph as Graph
from keras_moe.graph.calls import replaced as replaced
from keras_moe.graph.calls import replay as replay
from keras_moe.graph.opening import is_functional as is_functional
from keras_moe.graph.opening import open_graph as open_graph
from keras_moe.graph.opening import outer_graph as outer_graph
from keras_moe.graph.rebuilding import rebuild as rebuild
