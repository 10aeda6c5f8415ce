"""What is done by the calendar: scheduled accounts, cadences, drift checks, readiness probes."""
