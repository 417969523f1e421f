"""Alerts: what raises one, who is told of it, and how the word gets there (docs/alerts.md)."""
