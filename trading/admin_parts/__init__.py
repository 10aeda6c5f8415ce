"""Parts of the admin: keys, the audit trail, webhooks."""
