"""What results mean: intercalation energies, hulls, voltages, pictures, reports on sites."""
