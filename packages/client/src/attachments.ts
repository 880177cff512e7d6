import {
  InvalidInputError,
  parseTraceId,
  type TraceContextData,
  textOf,
  traceIdStart,
} from '@stepwell/protocol'
import { executionIdOf, isStart, stepIdOf } from './given-values.ts'
import { AttachedTrace } from './handles.ts'
import { OpenTrace } from './open-trace.ts'
import type { Settings } from './options.ts'
import type { Recording } from './recording.ts'
import type { Sink } from './sink.ts'

/** Traces that were attached to and let go are remembered, so that a next attachment goes on counting: this many. */
const REMEMBERED_MAX = 1_000
/** Those that nobody let go, by `await using` or by hand, are remembered too; of more than this many the oldest are not. */
const HELD_MAX = 10_000
/** The shortest time that `resolveTraceId` gets for its answer. */
const ASKING_MIN_MS = 1_000

/**
 * Traces of other producers that this one adds to. Unresolved (by execution id, looked for in the background) → attached →
 * let go. Step ids count over all of them, so none is ever given twice in a trace.
 */
export class Attachments {
  readonly #recording: Recording
  readonly #sink: Sink
  readonly #settings: Settings
  readonly #producer: string
  readonly #byTraceId = new Map<string, { trace: OpenTrace; holders: number }>()
  #steps = 0
  /** How many there may be until those that can be forgotten are looked for again: looking each time would cost more with each. */
  #forgetAbove = REMEMBERED_MAX

  constructor(recording: Recording, sink: Sink, settings: Settings, producer: string) {
    this.#recording = recording
    this.#sink = sink
    this.#settings = settings
    this.#producer = producer
  }

  /** Whether a step is open in a trace of somebody else: then it must be known that we live. */
  get hasOpenSteps(): boolean {
    for (const { trace } of this.#byTraceId.values()) if (trace.open.size > 0) return true
    return false
  }

  attach(context: TraceContextData | { executionId: string }): AttachedTrace {
    if (
      typeof context !== 'object' ||
      context === null ||
      !('traceId' in context || 'executionId' in context)
    ) {
      throw new InvalidInputError('attach needs the context of a trace (t.context()), or { executionId }')
    }
    if ('traceId' in context && context.traceId) return this.#attachTo(context)
    const executionId = executionIdOf((context as { executionId: string }).executionId)
    if (executionId === undefined) {
      throw new InvalidInputError('attach: traceId and executionId are empty, one of them is needed')
    }
    const trace = this.#newTrace('', 0, executionId)
    void this.#resolve(trace, executionId)
    return new AttachedTrace(this.#recording, trace, undefined, () => {})
  }

  #attachTo({ traceId, startedAt, executionId, ...context }: TraceContextData): AttachedTrace {
    const id = parseTraceId(textOf(traceId))
    const startMs = id === undefined ? undefined : (traceIdStart(id) ?? startedAt)
    if (id === undefined || !isStart(startMs)) {
      throw new InvalidInputError(
        `attach: '${textOf(traceId)}' must be a trace id; one that is not Stepwell's needs startedAt beside it: milliseconds, from 2000 to a day from now`,
      )
    }
    const stepId = stepIdOf(context.stepId)
    // Its owner adds to it as the owner.
    const own = this.#recording.openTraces.get(id)
    if (own !== undefined) return new AttachedTrace(this.#recording, own, stepId, () => {})
    let known = this.#byTraceId.get(id)
    if (known === undefined) {
      known = { trace: this.#newTrace(id, startMs, executionIdOf(executionId)), holders: 0 }
      this.#remember(id, known)
    }
    known.holders += 1
    let isHeld = true
    const letGo = (): void => {
      if (isHeld) (known as { holders: number }).holders -= 1
      isHeld = false
    }
    return new AttachedTrace(this.#recording, known.trace, stepId, letGo)
  }

  #remember(id: string, entry: { trace: OpenTrace; holders: number }): void {
    this.#byTraceId.set(id, entry)
    if (this.#byTraceId.size <= this.#forgetAbove) return
    this.#forget()
    this.#forgetAbove = Math.max(REMEMBERED_MAX, 2 * this.#byTraceId.size)
  }

  #forget(): void {
    for (const [old, { trace, holders }] of this.#byTraceId) {
      // Its handle goes on to work; only what is expected of us in it is told apart then.
      const isHeld = holders > 0 && this.#byTraceId.size <= HELD_MAX
      if (isHeld || trace.open.size > 0 || trace.dirtySincePerfMs !== undefined) continue
      this.#byTraceId.delete(old)
      if (this.#byTraceId.size <= REMEMBERED_MAX) return
    }
  }

  #newTrace(traceId: string, startedAtMs: number, executionId: string | undefined): OpenTrace {
    return new OpenTrace({
      traceId,
      startedAtMs,
      skill: '',
      executionId,
      metadata: undefined,
      serviceText: undefined,
      redactor: this.#settings.redactor,
      parent: undefined,
      limitMs: undefined,
      recentBudget: undefined,
      idPrefix: `${this.#producer}.`,
      startPerfMs: undefined,
      nextStepNumber: () => ++this.#steps,
    })
  }

  async #resolve(trace: OpenTrace, executionId: string): Promise<void> {
    const untilMs = performance.now() + this.#settings.resolveTimeoutMs
    for (let pauseMs = 20; ; pauseMs *= 2) {
      const traceId = await this.#known(executionId)
      if (traceId !== undefined) return this.#resolved(trace, traceId)
      const leftMs = untilMs - performance.now()
      if (leftMs <= 0) break
      await new Promise<void>((resolve) => {
        setTimeout(resolve, Math.min(pauseMs, leftMs, 1_000)).unref()
      })
    }
    const traceId = await this.#asked(executionId)
    if (traceId === undefined) this.#recording.giveUp(trace)
    else this.#resolved(trace, traceId)
  }

  #resolved(trace: OpenTrace, traceId: string): void {
    const startMs = traceIdStart(traceId)
    if (startMs === undefined) {
      // An id that does not tell its start: offsets cannot be counted.
      this.#recording.giveUp(trace)
      return
    }
    const known = this.#byTraceId.get(traceId)
    if (known === undefined) this.#remember(traceId, { trace, holders: 0 })
    else trace.joinCounts(known.trace)
    this.#recording.resolve(trace, traceId, startMs)
  }

  // One that never settles would keep what waits for it for ever.
  #inTime<T>(answer: Promise<T> | undefined): Promise<T | undefined> {
    const late = new Promise<undefined>((resolve) => {
      setTimeout(resolve, Math.max(ASKING_MIN_MS, this.#settings.resolveTimeoutMs), undefined).unref()
    })
    return Promise.race([answer, late])
  }

  /** The trace id of an execution id, by whatever way there is. */
  async lookUp(executionId: string | undefined): Promise<string | undefined> {
    if (executionId === undefined) return undefined
    return (await this.#known(executionId)) ?? (await this.#asked(executionId))
  }

  async #known(executionId: string): Promise<string | undefined> {
    const own = this.#recording.openTraces.withExecutionId(executionId)
    return own?.traceId ?? parseTraceId((await this.#sink.lookUp(executionId)) ?? '')
  }

  async #asked(executionId: string): Promise<string | undefined> {
    try {
      const traceId = await this.#inTime(this.#settings.resolveTraceId?.(executionId))
      return traceId === undefined || traceId === null ? undefined : parseTraceId(String(traceId))
    } catch {
      return undefined
    }
  }
}
