"""Pure rules of alerts: what is worth one, how a webhook is signed, who may be called."""
