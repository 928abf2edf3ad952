"""From hosts and guests to tasks, shards and a run directory; what it will cost."""
