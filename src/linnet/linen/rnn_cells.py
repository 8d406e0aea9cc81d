"""Recurrent cells, one step ``(carry, x) -> (carry, y)`` each; the door to the ``_`` modules."""

from __future__ import annotations

from linnet.linen._rnn_cells import Carry as Carry
from linnet.linen._rnn_cells import Output as Output
from linnet.linen._rnn_cells import RNNCellBase as RNNCellBase
from linnet.linen._rnn_cells_gated import GRUCell as GRUCell
from linnet.linen._rnn_cells_gated import MGUCell as MGUCell
from linnet.linen._rnn_cells_gated import SimpleCell as SimpleCell
from linnet.linen._rnn_cells_lstm import ConvLSTMCell as ConvLSTMCell
from linnet.linen._rnn_cells_lstm import DenseParams as DenseParams
from linnet.linen._rnn_cells_lstm import LSTMCell as LSTMCell
from linnet.linen._rnn_cells_lstm import OptimizedLSTMCell as OptimizedLSTMCell
