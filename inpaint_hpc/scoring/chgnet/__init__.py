"""CHGNet on whole batches of crystals."""
