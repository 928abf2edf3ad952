"""One host at a time: sample, search, rank, relax; results and their files."""
