#!/usr/bin/env node
/** The command `claudcode-mcp-server`: the gateway's tools on stdin and stdout. */
export {};
