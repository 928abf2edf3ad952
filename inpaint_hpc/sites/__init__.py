"""Where guests can sit: samples clustered into sites under the symmetry of the host."""
