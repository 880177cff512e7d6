/**
 * Whether the database takes rows. Open → closed at a failure that is no single one → open at the next success.
 * While it is closed, nothing new is read from Redis: what is in hand stays there, unacked, and no entry is judged.
 */
export class OutageGate {
  #isOpen = true
  #triedMs = 0
  #lastError: unknown
  #waiting: (() => void)[] = []
  readonly #report: (change: 'closed' | 'opened', error: unknown) => void

  constructor(report: (change: 'closed' | 'opened', error: unknown) => void) {
    this.#report = report
  }

  get isOpen(): boolean {
    return this.#isOpen
  }

  get lastError(): unknown {
    return this.#lastError
  }

  /** When the latest try failed for something that may pass. Who goes on trying is not stuck; who waits for an answer that does not come is. */
  get triedMs(): number {
    return this.#triedMs
  }

  tried(): void {
    this.#triedMs = Date.now()
  }

  close(error: unknown): void {
    this.#lastError = error
    this.tried()
    if (!this.#isOpen) return
    this.#isOpen = false
    this.#report('closed', error)
  }

  open(): void {
    if (this.#isOpen) return
    this.#isOpen = true
    this.#report('opened', this.#lastError)
    for (const resolve of this.#waiting.splice(0)) resolve()
  }

  /** Resolves when the gate is open, or when the signal aborts. */
  async opened(signal: AbortSignal): Promise<void> {
    while (!this.isOpen && !signal.aborted) {
      await new Promise<void>((resolve) => {
        this.#waiting.push(resolve)
        signal.addEventListener('abort', () => resolve(), { once: true })
      })
    }
  }
}

/** Milliseconds to wait before try `attempt` (0, 1, …): doubling from 50 ms to 5 s, half of it random. */
export function backoffMs(attempt: number): number {
  const ceiling = Math.min(5_000, 50 * 2 ** attempt)
  return ceiling / 2 + Math.random() * (ceiling / 2)
}

/** Resolves after `ms`, or at once when the signal aborts. */
export function delay(ms: number, signal: AbortSignal): Promise<void> {
  if (signal.aborted) return Promise.resolve()
  return new Promise((resolve) => {
    const done = (): void => {
      clearTimeout(timer)
      signal.removeEventListener('abort', done)
      resolve()
    }
    const timer = setTimeout(done, ms)
    signal.addEventListener('abort', done, { once: true })
  })
}
