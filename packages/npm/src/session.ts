/**
 * A tool session: tells the gateway that a key wants web tools in its requests for now.
 *
 * A constructor cannot await, and the request after it shall have its tools: so a thread of its own
 * (keeper.ts) talks to the gateway, and opening and closing wait for it. It renews the session at
 * a third of its time, and is there still when the program exits, when nothing can be awaited any
 * more. A program that is killed leaves nothing behind: the gateway forgets what is not renewed.
 */

import { MessageChannel, type MessagePort, Worker, receiveMessageOnPort } from "node:worker_threads";
import { GatewayError, GatewayUnreachable, KeyRefused } from "./errors.js";
import type { Gateway } from "./gateway.js";

/** How the keeper says what happened: an error by its class, message and status; a warning. */
export interface Report {
  warning?: string;
  error?: { kind: string; message: string; status?: number | undefined };
}

/** Thread, look-up, connection and answer; the keeper gives up by itself before. */
const OPEN_MS_MAX = 15_000;
/** A program shall not wait long for its end. */
const CLOSE_MS_MAX = 3_000;

export class ToolSession {
  private readonly answered = new Int32Array(new SharedArrayBuffer(4));
  private readonly port: MessagePort;
  private readonly worker: Worker;
  private closed = false;
  private readonly atExit = (): void => this.close();

  /** Open a session. Throws `GatewayError`. */
  constructor(gateway: Gateway) {
    const { port1, port2 } = new MessageChannel();
    this.port = port1;
    this.worker = new Worker(new URL("./keeper.js", import.meta.url), {
      workerData: { gateway, answered: this.answered, port: port2 },
      transferList: [port2],
      // Not those that say what the main thread runs, such as --input-type.
      execArgv: process.execArgv.filter((flag) => /^--(use|tls)-/.test(flag)),
    });
    this.worker.unref();
    this.worker.on("error", () => {}); // A keeper that fell over is told by its silence.
    const report = this.wait(OPEN_MS_MAX);
    if (report?.error || !report) {
      this.closed = true;
      void this.worker.terminate();
      throw report?.error ? thrown(report.error) : silent(gateway.root);
    }
    if (report.warning) {
      process.emitWarning(report.warning);
    }
    process.on("exit", this.atExit);
  }

  /** End the session; harmless if it has ended. */
  close(): void {
    if (this.closed) {
      return;
    }
    this.closed = true;
    process.off("exit", this.atExit);
    Atomics.store(this.answered, 0, 0);
    this.port.postMessage("close");
    this.wait(CLOSE_MS_MAX);
    void this.worker.terminate();
  }

  private wait(milliseconds: number): Report | undefined {
    Atomics.wait(this.answered, 0, 0, milliseconds);
    return receiveMessageOnPort(this.port)?.message as Report | undefined;
  }
}

function thrown(error: NonNullable<Report["error"]>): GatewayError {
  const kinds = { KeyRefused, GatewayUnreachable } as Record<string, typeof GatewayError>;
  return new (kinds[error.kind] ?? GatewayError)(error.message, error.status);
}

function silent(root: string): GatewayUnreachable {
  return new GatewayUnreachable(`${root} did not answer in ${OPEN_MS_MAX / 1000} seconds.`);
}
