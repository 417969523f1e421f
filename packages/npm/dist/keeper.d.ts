/** The thread of a tool session: opens it, renews it, and closes it when it is told to. */
export {};
