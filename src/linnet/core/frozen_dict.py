"""The immutable dict that JAX knows, and functions that work alike on it and on a plain dict."""

from linnet._frozen_dict import FrozenDict as FrozenDict
from linnet._frozen_dict import FrozenKeysView as FrozenKeysView
from linnet._frozen_dict import FrozenValuesView as FrozenValuesView
from linnet._frozen_dict import K as K
from linnet._frozen_dict import V as V
from linnet._frozen_dict import copy as copy
from linnet._frozen_dict import freeze as freeze
from linnet._frozen_dict import pop as pop
from linnet._frozen_dict import pretty_repr as pretty_repr
from linnet._frozen_dict import unfreeze as unfreeze
