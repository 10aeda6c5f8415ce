"""Receive events from Ably without losing one, and detect stale connections. The only package that imports `ably`.

callback -> queue -> one writer -> inbox          (`intake`)
history  -> the same queue                        (`history`, `catch_up`: on every attach and at a fixed interval)

`channel` keeps one channel attached and caught up. `connection` holds one pair of SDK clients, and `watchdog` evaluates
it. `listener` replaces an unhealthy connection, without a limit on attempts, and writes the heartbeat.
"""
