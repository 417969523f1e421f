/**
 * A tool session: tells the gateway that a key wants web tools in its requests for now.
 *
 * A constructor cannot await, and the request after it shall have its tools: so a thread of its own
 * (keeper.ts) talks to the gateway, and opening and closing wait for it. It renews the session at
 * a third of its time, and is there still when the program exits, when nothing can be awaited any
 * more. A program that is killed leaves nothing behind: the gateway forgets what is not renewed.
 */
import type { Gateway } from "./gateway.js";
/** How the keeper says what happened: an error by its class, message and status; a warning. */
export interface Report {
    warning?: string;
    error?: {
        kind: string;
        message: string;
        status?: number | undefined;
    };
}
export declare class ToolSession {
    private readonly answered;
    private readonly port;
    private readonly worker;
    private closed;
    private readonly atExit;
    /** Open a session. Throws `GatewayError`. */
    constructor(gateway: Gateway);
    /** End the session; harmless if it has ended. */
    close(): void;
    private wait;
}
