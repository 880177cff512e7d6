import { setTimeout as after } from 'node:timers/promises'
import { ExecutionTracer, type TracerCounters, type TracerOptions } from '@stepwell/client'
import { seededRandom } from './seeded-random.ts'

/** What must be stored of a run. */
export interface ExpectedRun {
  status: 'success' | 'failed'
  steps: number
  errorMessage: string | null
}

/** How a load is made. */
export interface LoadOptions {
  redis: NonNullable<TracerOptions['redis']>
  /** The same runs for the same seed; tests print it. */
  seed: number
  /** Runs begun a second. Default: 500. */
  runsPerSecond?: number
  tracer?: Omit<TracerOptions, 'redis'>
  /** Told of each run when it begins, before anything of it is sent. */
  onBegun?: (traceId: string, run: ExpectedRun) => void
  /** Told when it has ended, in the process that runs it. */
  onEnded?: (traceId: string) => void
}

const TICK_MS = 20

/**
 * Runs as a team has them, through the real client: most are over at once, a fifth takes a while and nests, a tenth fails. It
 * remembers what each was. Idle → running (`start`) → over (`stop`: the open ones finish, and the client closes).
 */
export class Load {
  readonly runs = new Map<string, ExpectedRun>()
  readonly tracer: ExecutionTracer
  readonly #random: () => number
  readonly #perTick: number
  readonly #open = new Set<Promise<unknown>>()
  readonly #options: LoadOptions
  #latest = ''
  #timer: NodeJS.Timeout | undefined

  constructor(options: LoadOptions) {
    const { redis, seed, runsPerSecond = 500, tracer = {} } = options
    this.#options = options
    this.tracer = new ExecutionTracer({ redis, report: () => {}, ...tracer })
    this.#random = seededRandom(seed)
    this.#perTick = (runsPerSecond * TICK_MS) / 1_000
  }

  start(): this {
    let owed = 0
    this.#timer = setInterval(() => {
      for (owed += this.#perTick; owed >= 1; owed--) this.begin()
    }, TICK_MS)
    return this
  }

  /** Begins one run. */
  begin(): void {
    const kind = this.#random()
    const run = kind < 0.7 ? this.#short() : kind < 0.9 ? this.#slow() : this.#failing()
    this.#open.add(run)
    const traceId = this.#latest
    void run.finally(() => {
      this.#open.delete(run)
      this.#options.onEnded?.(traceId)
    })
  }

  /** Begins no more, waits for the open runs, and closes the client. */
  async stop(timeoutMs = 60_000): Promise<TracerCounters> {
    clearInterval(this.#timer)
    await Promise.all(this.#open)
    return this.tracer.close({ timeoutMs })
  }

  #short(): Promise<unknown> {
    const steps = 1 + Math.floor(this.#random() * 5)
    return this.tracer.trace('short', { metadata: { env: 'test' } }, async (t) => {
      this.#expect(t.context().traceId, { status: 'success', steps, errorMessage: null })
      for (let i = 0; i < steps; i++) await t.step(`step-${i}`, () => i)
    })
  }

  #slow(): Promise<unknown> {
    const pauses = Array.from({ length: 2 + Math.floor(this.#random() * 4) }, () => this.#random() * 300)
    const executionId = `exec-${this.#random().toString(36).slice(2)}`
    return this.tracer.trace('slow', { executionId }, async (t) => {
      this.#expect(t.context().traceId, { status: 'success', steps: pauses.length * 2, errorMessage: null })
      for (const ms of pauses)
        await t.step('outer', async (s) => {
          await s.step('inner', () => after(ms))
        })
    })
  }

  async #failing(): Promise<void> {
    const ms = this.#random() * 50
    const errorMessage = `connect ETIMEDOUT 10.0.0.${Math.floor(this.#random() * 256)}:6379`
    const run = this.tracer.trace('failing', async (t) => {
      this.#expect(t.context().traceId, { status: 'failed', steps: 1, errorMessage })
      await t.step('call', async () => {
        await after(ms)
        throw new Error(errorMessage)
      })
    })
    await run.catch(() => {})
  }

  #expect(traceId: string, run: ExpectedRun): void {
    this.runs.set(traceId, run)
    this.#latest = traceId
    this.#options.onBegun?.(traceId, run)
  }
}
