/** `ClaudCodeMcp`: a tool session and the gateway's tools. */
import { ask, gatewayOf } from "./gateway.js";
import { ToolSession } from "./session.js";
import { callTool, definition, listTools, result, } from "./tools.js";
/**
 * Gives the requests of a key the gateway's web tools, from now until it is closed.
 *
 * Opens its session at once: a wrong key or address throws `GatewayError` here. It closes by
 * `close()` or when the program ends.
 */
export class ClaudCodeMcp {
    gateway;
    session;
    constructor(options) {
        this.gateway = gatewayOf(options);
        this.session = new ToolSession(this.gateway);
    }
    /** Return the tools as `messages.create({ tools })` takes them. Throws `GatewayError`. */
    async tools() {
        return (await listTools(this.gateway)).map(definition);
    }
    /** Run a tool. Throws `ToolFailed` when it fails, `GatewayError` when it cannot be run. */
    async call(name, args = {}, options = {}) {
        return result(await callTool(this.gateway, name, args, options));
    }
    /** Return budget and limits of the key. Throws `GatewayError`. */
    async keyStatus() {
        return ask(this.gateway, "GET", "/v1/key-status");
    }
    /** End the session; harmless if it has ended. */
    close() {
        this.session.close();
    }
}
