/** What can go wrong between a program and its gateway. */

/** The gateway did not do what it was asked; the message says why. `status` is of HTTP, if any. */
export class GatewayError extends Error {
  readonly status: number | undefined;

  constructor(message: string, status?: number, options?: ErrorOptions) {
    super(message, options);
    this.name = new.target.name;
    this.status = status;
  }
}

/** The gateway knows no such key, or the key may not do this. */
export class KeyRefused extends GatewayError {}

/** Nobody answered, or not in time. */
export class GatewayUnreachable extends GatewayError {}

/** The tool ran and failed; another try may help. */
export class ToolFailed extends GatewayError {}

/** Return the error that an answer of this status tells; `body` is its JSON, if it was any. */
export function refusal(status: number, body: unknown): GatewayError {
  const message = said(body) || `The gateway answered ${status}.`;
  if (status === 401 || status === 403) {
    return new KeyRefused(message, status);
  }
  if (status === 404) {
    return new GatewayError(`There are no web tools at this gateway (${message})`, status);
  }
  return new GatewayError(message, status);
}

/** Return the error for when nobody at `address` answers. */
export function unreachable(address: string, error: unknown): GatewayUnreachable {
  return new GatewayUnreachable(`${address} did not answer: ${reason(error)}`, undefined, {
    cause: error,
  });
}

function said(body: unknown): string {
  const error = (body as { error?: unknown } | null)?.error;
  const message = (error as { message?: unknown } | null)?.message ?? error;
  return typeof message === "string" ? message : "";
}

// `fetch` says "fetch failed", and the reason in its cause.
function reason(error: unknown): string {
  const { cause, message } = error as { cause?: unknown; message?: string };
  const { code, message: deeper } = (cause ?? {}) as { code?: string; message?: string };
  return deeper || code || message || String(error);
}
