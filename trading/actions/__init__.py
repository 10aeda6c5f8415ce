"""What users request: previews and executions, the kill switch, manual resolution, fetching targets."""
