"""Every exception of the library; see :class:`linnet.errors.LinnetError` for the form of a message."""

from linnet.errors._base import LinnetError as LinnetError
