"""What happens to assets: events, the queue of consumers, runs that they start."""
