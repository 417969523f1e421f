"""The data plane, `/v1`: admits exchanges, relays them to upstream accounts, settles them."""
