"""Hosts out of network namespaces: each with its own addresses, on switches that can be cut.

Nothing of it reaches the machine's own network: the switches are a namespace too. Names carry the
process id, so that two runs never meet; addresses may be the same in both. Linux, as root.
"""

import contextlib
import ctypes
import os
import shutil
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

CLONE_NEWNET = 0x40000000
_LIBC = ctypes.CDLL(None, use_errno=True)
NAMES = Path("/run/netns")
_SWITCHES = "switches"


def missing() -> str:
    """Return why no network can be made here; nothing when one can."""
    if not os.path.exists("/proc/self/ns/net"):
        return "network namespaces are Linux'"
    if os.geteuid() != 0:
        return "network namespaces take root"
    absent = [name for name in ("ip", "nsenter", "setpriv") if not _program(name)]
    if absent:
        return f"not installed: {', '.join(absent)}"
    tried = subprocess.run([_program("ip"), "netns", "add", name := f"cc{os.getpid()}-try"])
    if tried.returncode:
        return "this machine lets nobody make a network namespace"
    subprocess.run([_program("ip"), "netns", "del", name], check=True)
    return ""


@dataclass(slots=True)
class Network:
    """Two networks: `inside` joins the installation, `outside` leads to upstream.

    A host has the same last number in both. It is made by `network()` and goes with it.
    """

    prefix: str = field(default_factory=lambda: f"cc{os.getpid()}")
    nets: Mapping[str, str] = field(
        default_factory=lambda: {"inside": "10.203.0", "outside": "10.204.0"}
    )
    _numbers: dict[str, int] = field(default_factory=dict)
    _wires: dict[tuple[str, str], str] = field(default_factory=dict)

    def add(self, host: str, *nets: str) -> None:
        """Add a host with a wire to each of `nets`, the inside one if none is named."""
        number = len(self._numbers) + 11
        self._make(host)
        self._numbers[host] = number
        for net in nets or ("inside",):
            wire = self._wires[host, net] = f"{net[0]}{number}"
            peer = f"type veth peer name {net} netns {self._name(host)}"
            self._ip(_SWITCHES, f"link add {wire} {peer}", f"link set {wire} master {net} up")
            self._ip(host, f"addr add {self.nets[net]}.{number}/24 dev {net}", f"link set {net} up")

    def address(self, host: str, net: str = "inside") -> str:
        """Return the address of a host in a network."""
        return f"{self.nets[net]}.{self._numbers[host]}"

    def on(self, host: str, words: Sequence[str], user: tuple[int, int] | None = None) -> list[str]:
        """Return the command that runs `words` on a host, and never outlives who starts it."""
        drop = ["--pdeathsig", "KILL"]
        if user is not None:
            drop += [f"--reuid={user[0]}", f"--regid={user[1]}", "--clear-groups"]
        enter = [_program("nsenter"), f"--net={NAMES / self._name(host)}"]
        return [*enter, _program("setpriv"), *drop, *words]

    def set(self, host: str, **values: int) -> None:
        """Set `net.ipv4.<name>` of a host."""
        with self.inside(host):
            for name, value in values.items():
                Path("/proc/sys/net/ipv4", name).write_text(f"{value}\n")

    @contextlib.contextmanager
    def inside(self, host: str) -> Iterator[None]:
        """Have this thread's new sockets, threads and processes be on a host."""
        with open("/proc/thread-self/ns/net") as before, (NAMES / self._name(host)).open() as there:
            _enter(there.fileno())
            try:
                yield
            finally:
                _enter(before.fileno())

    def cut(self, host: str) -> None:
        """Pull all wires of a host. It does not notice, and nothing it sends arrives."""
        self._ip(_SWITCHES, *(f"link set {wire} down" for wire in self._wires_of(host)))

    def mend(self, host: str) -> None:
        """Plug a host's wires in again."""
        self._ip(_SWITCHES, *(f"link set {wire} up" for wire in self._wires_of(host)))

    def split(self, hosts: Sequence[str]) -> None:
        """Part the inside network: `hosts` reach each other there, and nobody else."""
        self._ip(_SWITCHES, *(f"link set {self._wires[h, 'inside']} master island" for h in hosts))

    def heal(self) -> None:
        """Make the inside network one again."""
        wires = [wire for (_host, net), wire in self._wires.items() if net == "inside"]
        self._ip(_SWITCHES, *(f"link set {wire} master inside" for wire in wires))

    def build(self) -> None:
        """Make the switches."""
        self._make(_SWITCHES)
        for switch in (*self.nets, "island"):
            self._ip(_SWITCHES, f"link add {switch} type bridge", f"link set {switch} up")

    def remove(self) -> None:
        """Remove what was made. Processes that are still on a host lose their network."""
        for name in [*self._numbers, _SWITCHES]:
            if (NAMES / self._name(name)).exists():
                subprocess.run([_program("ip"), "netns", "del", self._name(name)], check=False)

    def _make(self, host: str) -> None:
        subprocess.run([_program("ip"), "netns", "add", self._name(host)], check=True)
        self._ip(host, "link set lo up")

    def _ip(self, host: str, *lines: str) -> None:
        command = [_program("ip"), "-n", self._name(host), "-batch", "-"]
        subprocess.run(command, input="\n".join(lines) + "\n", text=True, check=True)

    def _wires_of(self, host: str) -> list[str]:
        return [wire for (name, _net), wire in self._wires.items() if name == host]

    def _name(self, host: str) -> str:
        return f"{self.prefix}-{host}"


@contextlib.contextmanager
def network() -> Iterator[Network]:
    """Give a network for as long as the block."""
    made = Network()
    try:
        made.build()
        yield made
    finally:
        made.remove()


def _enter(descriptor: int) -> None:
    if _LIBC.setns(descriptor, CLONE_NEWNET) != 0:
        raise OSError(ctypes.get_errno(), "setns")


def _program(name: str) -> str:
    return shutil.which(name, path="/usr/sbin:/usr/bin:/sbin:/bin") or ""
