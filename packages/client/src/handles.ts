import {
  type FinalStatus,
  InvalidInputError,
  type Step,
  type StepId,
  type StepStatus,
  type TraceContextData,
} from '@stepwell/protocol'
import { currentPlace, type Place, placeIn, places } from './context.ts'
import { errorText } from './given-values.ts'
import type { OpenStep } from './open-steps.ts'
import type { OpenTrace } from './open-trace.ts'
import type { Recording, StepOptions } from './recording.ts'

/** What a callback of a step does. */
export type StepCallback<T> = (step: StepHandle) => T

/** Calls `step(name, fn)` and `step(name, options, fn)`. */
export interface StepCall {
  <T>(name: string, fn: StepCallback<T>): T
  <T>(name: string, options: StepOptions, fn: StepCallback<T>): T
}

/** What traces and steps have in common: other steps run in them. */
abstract class Scope {
  /** @internal */
  protected readonly recording: Recording
  /** @internal */
  protected readonly trace: OpenTrace
  /** Id of the step that this is, undefined for the trace itself. */
  abstract readonly id: StepId | undefined

  constructor(recording: Recording, trace: OpenTrace) {
    this.recording = recording
    this.trace = trace
  }

  /** Id of the trace: a UUID. '' while an attached one is being looked for. */
  get traceId(): string {
    return this.trace.traceId
  }

  /**
   * Runs `fn` as a step in this one. Returns what it returns; what it throws or rejects with ends the step as failed, and is
   * thrown on unchanged.
   */
  step<T>(name: string, fn: StepCallback<T>): T
  step<T>(name: string, options: StepOptions, fn: StepCallback<T>): T
  step<T>(name: string, second: StepOptions | StepCallback<T>, third?: StepCallback<T>): T {
    return runStep(this.recording, this.trace, this.id, currentPlace(), name, second, third)
  }

  /** Starts a step that `end` or `fail` of the handle completes. */
  startStep(name: string, options: StepOptions = {}): StepHandle {
    return new StepHandle(
      this.recording,
      this.trace,
      this.recording.startStep(this.trace, name, options, this.id),
    )
  }

  /** A step that took `durationMs` and ended now (or began at `startedAt`). Throws InvalidStatusError. */
  recordStep(
    name: string,
    durationMs: number,
    status: StepStatus = 'success',
    errorMessage?: string,
    options: StepOptions = {},
  ): Step {
    return this.recording.recordStep(this.trace, name, durationMs, status, errorMessage, options, this.id)
  }

  /** Where this is, small and serializable: give it to another process, and `attach` there. */
  context(): TraceContextData {
    const { traceId, executionId, parent, startedAtMs } = this.trace
    const context: TraceContextData = { traceId, startedAt: startedAtMs }
    if (this.id !== undefined) context.stepId = this.id
    if (executionId !== undefined) context.executionId = executionId
    if (parent !== undefined) context.rootTraceId = parent.rootTraceId ?? parent.traceId
    return context
  }
}

/** A step that is running. */
export class StepHandle extends Scope {
  readonly #step: OpenStep

  /** @internal */
  constructor(recording: Recording, trace: OpenTrace, step: OpenStep) {
    super(recording, trace)
    this.#step = step
  }

  get id(): StepId {
    return this.#step.id
  }

  /** Adds attributes, over those of the same name. After the end: nothing. */
  set(attributes: Record<string, unknown>): void {
    this.recording.setAttributes(this.trace, this.#step, attributes)
  }

  /** Completes the step. A second end changes nothing. Throws InvalidStatusError. */
  end(status: StepStatus = 'success', errorMessage?: string): Step {
    return this.recording.endStep(this.trace, this.#step, status, errorMessage)
  }

  /** Completes the step as failed, with the error's message. */
  fail(error: unknown): Step {
    return this.end('failed', errorText(error))
  }

  /** @internal Completes the step as its callback ended. */
  finish(error?: { thrown: unknown }): void {
    if (error === undefined) this.recording.finishStep(this.trace, this.#step, 'success', undefined)
    else this.recording.finishStep(this.trace, this.#step, 'failed', errorText(error.thrown))
  }
}

/** A trace of this process that is running. */
export class TraceHandle extends Scope {
  readonly id = undefined
  #failure: string | undefined

  get executionId(): string | undefined {
    return this.trace.executionId
  }

  /** Adds to the metadata of the trace, over keys of the same name. */
  set(metadata: Record<string, unknown>): void {
    this.recording.setMetadata(this.trace, metadata)
  }

  /** The trace will end as failed, though its callback returns. */
  fail(error: unknown): void {
    this.#failure = errorText(error)
  }

  /** @internal Ends the trace as its callback ended. */
  finish(error?: { thrown: unknown }): void {
    const message = error === undefined ? this.#failure : errorText(error.thrown)
    const status: FinalStatus = message === undefined ? 'success' : 'failed'
    this.recording.end(this.trace, status, message)
  }
}

/** A trace that another process (or an earlier part of this one) started. `await using` detaches. */
export class AttachedTrace extends Scope implements AsyncDisposable {
  readonly id: StepId | undefined
  readonly #detach: () => void

  /** @internal */
  constructor(recording: Recording, trace: OpenTrace, stepId: StepId | undefined, detach: () => void) {
    super(recording, trace)
    this.id = stepId
    this.#detach = detach
  }

  /** Runs `fn` in the trace: `step()` and recorders in it record there. */
  run<T>(fn: () => T): T {
    return places.run(placeIn(currentPlace(), this.trace, this.recording, this.id), fn)
  }

  /** Ends the attachment; what was recorded is sent all the same. Idempotent; waits for nothing. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.#detach()
  }
}

/**
 * Runs `fn` as a step of the trace that this flow is in, nested in the step that it is in. Without a trace `fn` just runs, with a
 * step that records nothing: code that is traced need not know whether it is.
 */
export const step: StepCall = <T>(
  name: string,
  second: StepOptions | StepCallback<T>,
  third?: StepCallback<T>,
): T => {
  const place = currentPlace()
  if (place === undefined && typeof second === 'function') return second(noStep as unknown as StepHandle)
  if (place === undefined)
    return functionToRun<StepOptions, StepHandle, T>('step', second, third)(noStep as unknown as StepHandle)
  return runStep(place.recording, place.trace, place.stepId, place, name, second, third)
}

function runStep<T>(
  recording: Recording,
  trace: OpenTrace,
  parentId: StepId | undefined,
  outer: Place | undefined,
  name: string,
  second: StepOptions | StepCallback<T>,
  third: StepCallback<T> | undefined,
): T {
  const fn = functionToRun<StepOptions, StepHandle, T>('step', second, third)
  const options = fn === second ? undefined : (second as StepOptions)
  const open = recording.startStep(trace, name, options, parentId)
  return runIn(placeIn(outer, trace, recording, open.id), fn, new StepHandle(recording, trace, open))
}

/** What is told how its callback ended. */
interface Runnable {
  finish(error?: { thrown: unknown }): void
}

/** Runs `fn` at a place; tells the handle that it is given how it ended, when it has. */
export function runIn<Handle extends Runnable, T>(
  place: Place,
  fn: (handle: Handle) => T,
  handle: Handle,
): T {
  let result: T
  try {
    result = places.run(place, fn, handle)
  } catch (thrown) {
    handle.finish({ thrown })
    throw thrown
  }
  if (!isPromise(result)) {
    handle.finish()
    return result
  }
  // A query builder's `then` may give nothing back, or throw: what awaits it must get its value all the same.
  const promise = result instanceof Promise ? result : Promise.resolve(result)
  return promise.then(
    (value) => {
      handle.finish()
      return value
    },
    (thrown: unknown) => {
      handle.finish({ thrown })
      throw thrown
    },
  ) as T
}

function isPromise(value: unknown): value is Promise<unknown> {
  try {
    return (
      typeof value === 'object' && value !== null && typeof (value as Promise<unknown>).then === 'function'
    )
  } catch {
    // A property that cannot be read: whatever it is, it is the host's.
    return false
  }
}

/** What the two ways to call `trace` and `step` give to run. Throws InvalidInputError where there is nothing. */
export function functionToRun<Options, Scope, T>(
  what: 'trace' | 'step',
  second: Options | ((scope: Scope) => T) | null | undefined,
  third: ((scope: Scope) => T) | undefined,
): (scope: Scope) => T {
  if (typeof second === 'function') return second as (scope: Scope) => T
  if (typeof third === 'function') return third
  throw new InvalidInputError(`${what}(name, options?, fn) needs a function to run`)
}

/** What a disabled tracer returns. One for all: making each its own takes longer than the rest of the call. */
export const NO_STEP: Step = Object.freeze({ id: 0, name: '', status: 'success' })
const NO_CONTEXT: TraceContextData = Object.freeze({ traceId: '00000000-0000-0000-0000-000000000000' })

/** What callbacks get where nothing is recorded: every method of the handles, doing nothing. */
export const noStep = Object.freeze({
  id: undefined,
  traceId: NO_CONTEXT.traceId,
  executionId: undefined,
  step: <T>(_name: string, second: unknown, third?: (step: unknown) => T): T =>
    functionToRun<unknown, unknown, T>('step', second, third)(noStep),
  startStep: () => noStep,
  recordStep: () => NO_STEP,
  context: () => NO_CONTEXT,
  set: () => {},
  end: () => NO_STEP,
  fail: () => NO_STEP,
  run: <T>(fn: () => T): T => fn(),
  [Symbol.asyncDispose]: async () => {},
})
