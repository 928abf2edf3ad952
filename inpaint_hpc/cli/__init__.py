"""The command line: one module per verb, with nothing that a library call cannot do."""
