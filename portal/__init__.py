"""What developers are told: documentation, a page to try a key, the gateway's status."""
