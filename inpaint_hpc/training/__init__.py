"""Training of the score network: examples, noise, loop, checkpoints, weights with a card."""
