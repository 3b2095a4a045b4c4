"""Gate, expert bank and ensembler: the three blocks every mixture of experts here is made of."""

from keras_moe.layers.ensemble import Ensembler as Ensembler
from keras_moe.layers.experts import ExpertBank as ExpertBank
from keras_moe.layers.gate import TopKGate as TopKGate
