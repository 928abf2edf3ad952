"""The equivariant score network, and its weights."""
