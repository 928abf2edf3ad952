"""Orderings of guests on the sites of a host, and the search for the best."""
