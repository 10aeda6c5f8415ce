"""The only writer of runs, orders, fills and leases. Every move is one guarded UPDATE."""
