"""Work that starts at a set time: scheduled accounts, cadences, drift checks, readiness probes, and the sweeper."""
