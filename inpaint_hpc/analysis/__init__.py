"""Analysis of results: intercalation energies, hulls, voltages, pictures, reports on sites."""
