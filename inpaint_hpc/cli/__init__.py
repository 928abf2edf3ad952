"""The command line: a module for each verb, nothing that a library call cannot do."""
