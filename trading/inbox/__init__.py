"""The inbox turns every request for a rebalance into an event and queued runs."""
