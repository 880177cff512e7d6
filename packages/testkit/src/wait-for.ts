import { setTimeout as after } from 'node:timers/promises'
import { inspect } from 'node:util'

// What takes a moment takes many where the machine has other things to do; that it never comes is told late rather than wrongly.
const TIMEOUT_MS = 60_000
const INTERVAL_MS = 20

/** How to wait. */
export interface WaitOptions {
  /** What is awaited, for the error: 'the trace is stored'. */
  what: string
  /** Milliseconds until it fails; default 60,000. */
  timeoutMs?: number
  /** Milliseconds between two tries; default 20. */
  intervalMs?: number
}

/** What of a type can be truthy. */
export type Truthy<T> = Exclude<T, undefined | null | false | 0 | ''>

/**
 * Asks until the condition holds and gives its value. A condition holds when it returns something truthy; one that
 * throws does not hold yet. Throws an error that names `what` and the last value or error when the time is over.
 */
export async function waitFor<T>(condition: () => T | Promise<T>, options: WaitOptions): Promise<Truthy<T>> {
  const { what, timeoutMs = TIMEOUT_MS, intervalMs = INTERVAL_MS } = options
  const over = new AbortController()
  const deadline = after(timeoutMs, TIMED_OUT, { signal: over.signal }).catch(() => TIMED_OUT)
  let last = 'no answer yet'
  let cause: unknown
  try {
    for (;;) {
      try {
        // Raced: a condition that hangs must not outlive the time.
        const value = await Promise.race([deadline, condition()])
        if (value === TIMED_OUT) break
        if (value) return value as Truthy<T>
        last = `last value: ${inspect(value, { depth: 3, breakLength: 120 })}`
        cause = undefined
      } catch (error) {
        last = `last error: ${error instanceof Error ? error.message : inspect(error)}`
        cause = error
      }
      if ((await Promise.race([deadline, after(intervalMs)])) === TIMED_OUT) break
    }
  } finally {
    over.abort()
  }
  throw new Error(`Waited ${timeoutMs} ms in vain: ${what} (${last})`, { cause })
}

const TIMED_OUT = Symbol('timed out')
