"""Layers with a learnt linear map, and what they share; the public door to the ``_`` modules."""

from __future__ import annotations

from linnet.linen._conv import Conv as Conv
from linnet.linen._conv import ConvLocal as ConvLocal
from linnet.linen._conv import ConvTranspose as ConvTranspose
from linnet.linen._conv import _Conv as _Conv
from linnet.linen._dense import Dense as Dense
from linnet.linen._dense import DenseGeneral as DenseGeneral
from linnet.linen._dense import Einsum as Einsum
from linnet.linen._dense import default_kernel_init as default_kernel_init
from linnet.linen._embed import Embed as Embed
from linnet.linen._embed import default_embed_init as default_embed_init
from linnet.linen._shapes import canonicalize_padding as canonicalize_padding
from linnet.linen._shapes import canonicalize_tuple as _canonicalize_tuple  # noqa: F401
from linnet.linen._shapes import conv_dimension_numbers as _conv_dimension_numbers  # noqa: F401
from linnet.linen._shapes import normalize_axes as _normalize_axes  # noqa: F401
from linnet.linen.dtypes import promote_dtype as promote_dtype
from linnet.linen.module.base import Module as Module
from linnet.linen.module.decorators import compact as compact
from linnet.typing import Array as Array
from linnet.typing import ConvGeneralDilatedT as ConvGeneralDilatedT
from linnet.typing import DotGeneralT as DotGeneralT
from linnet.typing import Dtype as Dtype
from linnet.typing import Initializer as Initializer
from linnet.typing import LaxPadding as LaxPadding
from linnet.typing import PaddingLike as PaddingLike
from linnet.typing import PrecisionLike as PrecisionLike
from linnet.typing import PRNGKey as PRNGKey
from linnet.typing import PromoteDtypeFn as PromoteDtypeFn
from linnet.typing import Shape as Shape
