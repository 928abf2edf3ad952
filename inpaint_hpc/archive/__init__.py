"""Result files and the archive: one HDF5 schema, written atomically, checked by sha256, read lazily."""
