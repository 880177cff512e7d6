/** Who has something to send before the process ends. One listener for all: each tracer with its own would be warned of. */
const flushers = new Set<() => Promise<unknown> | undefined>()
let isListening = false

/** Calls `flush` when the process is about to end by itself; returns how to stop that. `flush` gives undefined if there is nothing. */
export function flushBeforeExit(flush: () => Promise<unknown> | undefined): () => void {
  if (!isListening) {
    isListening = true
    // Comes again after each flush, until there is nothing left to do (https://nodejs.org/api/process.html#event-beforeexit).
    process.on('beforeExit', () => {
      for (const each of flushers) void each()
    })
  }
  flushers.add(flush)
  return () => flushers.delete(flush)
}
