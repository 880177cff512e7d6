/** A server that tests or the demo may use. */
export interface Service {
  /** Where it answers: `redis://…` or `postgres://…`. */
  url: string
  /** Where it comes from, for people: `REDIS_URL`, a path, `Docker (redis:7)`. */
  from: string
  /** Ends the server and removes its data; leaves a lent one (given by its URL) alone. Idempotent. */
  stop(): Promise<void>
}

/**
 * A server of one test's own, to do harm to. It runs as a child process of this one, and ends with it at the latest.
 * `await using` stops it.
 */
export interface PrivateServer extends Service, AsyncDisposable {
  port: number
  /** Ends it at once, like `kill -9`: nothing is saved any more. Its data stays; `restart` brings it back. */
  kill(): Promise<void>
  /** Ends it in order, as an administrator would; connected clients do not hold it up. Its data stays; `restart` brings it back. */
  shutDown(): Promise<void>
  /** Starts it again on the same port and data; a running one is first shut down in order. */
  restart(): Promise<void>
  /** Freezes all its processes (SIGSTOP): connections stay open and nothing answers. */
  pause(): void
  /** Lets a paused server go on. */
  resume(): void
}
