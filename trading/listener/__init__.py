"""Listens to Ably, loses nothing, and knows when it does not hear. The one place that imports `ably`.

callback -> queue -> one writer -> inbox          (`intake`)
history  -> the same queue                        (`history`, `catch_up`: on every attach, and again and again)
`channel` keeps one channel attached and caught up, `link` holds the clients of one life, `watch` judges it,
`listener` puts a new link in the place of a bad one, for ever, and tells how it stands.
"""
