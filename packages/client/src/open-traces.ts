import type { OpenTrace } from './open-trace.ts'

/**
 * The traces that a tracer started and that have not ended, in the order of their starts. A list rather than maps: those that grow and shrink
 * with each run took a twelfth of a short one. The indexes are made when they are first asked, which programs that run functions as
 * traces never do.
 */
export class OpenTraces {
  size = 0
  #first: OpenTrace | undefined
  #last: OpenTrace | undefined
  #byId: Map<string, OpenTrace> | undefined
  #byExecutionId: Map<string, OpenTrace> | undefined;

  *[Symbol.iterator](): Generator<OpenTrace> {
    for (let trace = this.#first; trace !== undefined; trace = trace.openAfter) yield trace
  }

  add(trace: OpenTrace): void {
    trace.isListed = true
    trace.openBefore = this.#last
    if (this.#last === undefined) this.#first = trace
    else this.#last.openAfter = trace
    this.#last = trace
    this.size += 1
    this.#byId?.set(trace.traceId, trace)
    if (this.#byExecutionId !== undefined) index(this.#byExecutionId, trace)
  }

  /** Idempotent. */
  delete(trace: OpenTrace): void {
    if (!trace.isListed) return
    const { openBefore, openAfter, executionId } = trace
    trace.isListed = false
    trace.openBefore = trace.openAfter = undefined
    if (openBefore === undefined) this.#first = openAfter
    else openBefore.openAfter = openAfter
    if (openAfter === undefined) this.#last = openBefore
    else openAfter.openBefore = openBefore
    this.size -= 1
    this.#byId?.delete(trace.traceId)
    if (executionId !== undefined && this.#byExecutionId?.get(executionId) === trace)
      this.#byExecutionId.delete(executionId)
  }

  clear(): void {
    for (const trace of [...this]) this.delete(trace)
  }

  get(traceId: string): OpenTrace | undefined {
    this.#byId ??= new Map([...this].map((trace) => [trace.traceId, trace]))
    return this.#byId.get(traceId)
  }

  /** The one with this execution id that began last, unless there was no room for it. Once that has ended: an older one, or none. */
  withExecutionId(executionId: string): OpenTrace | undefined {
    if (this.#byExecutionId === undefined) {
      this.#byExecutionId = new Map()
      for (const trace of this) index(this.#byExecutionId, trace)
    }
    return this.#byExecutionId.get(executionId)
  }
}

function index(byExecutionId: Map<string, OpenTrace>, trace: OpenTrace): void {
  const { executionId, dropReason } = trace
  if (executionId !== undefined && dropReason === undefined) byExecutionId.set(executionId, trace)
}
