"""How often something may be done in a second, in all and for one client. Pure: told the time.

For look-ups of API keys that this process does not know: they cost the database something, and
anybody can make it by sending invented keys. Keys that turn out to exist are given back to their
client, so what counts against it is what it invented and what is still being looked up.
"""

from keys.core.access import Address

# One client takes a quarter at most, so that invented keys from one place leave the others room.
CLIENT_SHARE = 4
# Who has an IPv6 address has the 2**64 beside it too.
IPV6_NETWORK_BITS = 64

Client = int | None


class Allowance:
    """Lets `per_s_max` through in each second, and of one client a quarter of that."""

    __slots__ = ("_clients", "_per_client_max", "_per_s_max", "_second", "_taken")

    def __init__(self, per_s_max: int) -> None:
        self._per_s_max = per_s_max
        self._per_client_max = max(1, per_s_max // CLIENT_SHARE)
        self._second = 0
        self._taken = 0
        # No more entries than were let through in this second.
        self._clients: dict[Client, int] = {}

    def take(self, client: Client, now_s: float) -> bool:
        """Return whether `client` may do it once more. What is refused counts for nothing."""
        if int(now_s) != self._second:
            self._second, self._taken = int(now_s), 0
            self._clients.clear()
        mine = self._clients.get(client, 0)
        if self._taken >= self._per_s_max or mine >= self._per_client_max:
            return False
        self._taken += 1
        self._clients[client] = mine + 1
        return True

    def give_back(self, client: Client) -> None:
        """Let `client` do it once more in this second; what all have taken stays."""
        if self._clients.get(client):
            self._clients[client] -= 1


def client_of(address: Address | None) -> Client:
    """Return what stands for a client: its IPv4 address, or the /64 of its IPv6 address."""
    if address is None:
        return None
    if address.version == 4:
        return int(address)
    # Away from the IPv4 addresses, which are below 2**32.
    return (int(address) >> IPV6_NETWORK_BITS) + 2**32
