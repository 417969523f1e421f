"""The command `claudcode-mcp-server`: the gateway's tools on stdin and stdout."""

import argparse
import os
import sys

from claudcode_mcp_server import __version__, bridge
from claudcode_mcp_server.gateway import Gateway

# The second of each is what people who call Claude through the gateway have set already.
KEY_NAMES = ("CLAUDCODE_API_KEY", "ANTHROPIC_API_KEY")
GATEWAY_NAMES = ("CLAUDCODE_GATEWAY", "ANTHROPIC_BASE_URL")
TAVILY_NAME = "TAVILY_API_KEY"


def main() -> None:
    """Serve until stdin ends."""
    asked = _arguments()
    try:
        gateway = Gateway(
            asked.gateway or _required(GATEWAY_NAMES),
            _required(KEY_NAMES),
            os.environ.get(TAVILY_NAME) or None,
        )
    except ValueError as error:
        sys.exit(f"claudcode-mcp-server: {error}")
    bridge.run(gateway, __version__)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="claudcode-mcp-server",
        description="Serve the web tools of a ClaudCode gateway over MCP on stdin and stdout.",
        # A key on a command line could be read by everybody on the machine.
        epilog=f"The API key comes from {KEY_NAMES[0]} (or {KEY_NAMES[1]}); {TAVILY_NAME} is used"
        " in place of the operator's Tavily account if it is set.",
    )
    parser.add_argument(
        "--gateway", help=f"the gateway's address (default: {' or '.join(GATEWAY_NAMES)})"
    )
    parser.add_argument("--version", action="version", version=__version__)
    return parser.parse_args()


def _required(names: tuple[str, ...]) -> str:
    found = next((os.environ[name] for name in names if os.environ.get(name)), None)
    if found is None:
        raise ValueError(f"set {names[0]}")
    return found


if __name__ == "__main__":
    main()
