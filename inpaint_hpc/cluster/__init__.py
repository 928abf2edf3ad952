"""Ways to run the same worker: in this process, on Ray actors; and the driver that hands out the work."""
