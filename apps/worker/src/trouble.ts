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
    log.warn({ err: withoutContents(error) }, 'trouble outside: going on')
  }
}

// The command of ioredis, with its arguments; what Postgres tells of the row ("Failing row contains …").
const CONTENTS = ['command', 'previousErrors', 'detail', 'where', 'internalQuery']

/** Takes from an error, and from those in it, what holds passwords or what users recorded: a log is no place for either. */
export function withoutContents(error: unknown): unknown {
  for (let inner = [error], depth = 0; inner.length > 0 && depth < 5; depth++) {
    inner = inner.flatMap((one) => {
      if (!(one instanceof Error)) return []
      for (const key of CONTENTS) Reflect.deleteProperty(one, key)
      return [one.cause, ...Object.values(one)]
    })
  }
  return error
}
