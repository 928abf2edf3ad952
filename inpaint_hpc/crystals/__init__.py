"""Crystals and batches of them: reading and writing, neighbours under periodic boundaries, symmetry, supercells."""
