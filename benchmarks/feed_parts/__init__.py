"""Parts of `campaign_feed.py`."""
