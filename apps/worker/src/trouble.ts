import type { Logger } from 'pino'

/** Logs each kind of trouble once a minute; counts all. */
export function troubleReporter(log: Logger, counter: { inc(): void }): (error: unknown) => void {
  const reported = new Map<string, number>()
  return (error) => {
    counter.inc()
    const kind =
      error instanceof Error
        ? `${error.name} ${(error as { code?: string }).code ?? error.message.slice(0, 60)}`
        : String(error)
    const nowMs = Date.now()
    if (nowMs - (reported.get(kind) ?? 0) < 60_000) return
    if (reported.size > 100) reported.clear()
    reported.set(kind, nowMs)
    log.warn({ err: withoutCommands(error) }, 'trouble outside: going on')
  }
}

/**
 * Takes from an error of ioredis, and from those in it, the command that failed: its arguments are passwords and what users
 * recorded, and a log is no place for either.
 */
export function withoutCommands(error: unknown): unknown {
  for (let inner = [error], depth = 0; inner.length > 0 && depth < 5; depth++) {
    inner = inner.flatMap((one) => {
      if (!(one instanceof Error)) return []
      for (const key of ['command', 'previousErrors']) Reflect.deleteProperty(one, key)
      return [one.cause, ...Object.values(one)]
    })
  }
  return error
}
