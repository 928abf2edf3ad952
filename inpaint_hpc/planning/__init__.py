"""Turns hosts and guests into tasks, shards and a run directory; estimates the cost."""
