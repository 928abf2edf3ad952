"""Relaxation of whole batches of crystals by FIRE."""
