"""Energies: CHGNet on batches, and relaxation in its forces."""
