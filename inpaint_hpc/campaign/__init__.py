"""From hosts and guests to ranked candidates."""
