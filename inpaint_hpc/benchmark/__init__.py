"""Protocols that measure the tool against known structures."""
