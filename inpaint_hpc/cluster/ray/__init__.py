"""Running units on Ray actors: the node, its watchdog, the executor."""
