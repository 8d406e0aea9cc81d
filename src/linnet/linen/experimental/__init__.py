"""Layers whose place in the library is not settled."""
