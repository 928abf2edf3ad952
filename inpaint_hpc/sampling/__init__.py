"""Samples of guest positions: noise schedules, samplers, strategies, contact distances, deduplication."""
