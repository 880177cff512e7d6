import { textOf } from './plain-json.ts'

/** Every error that Stepwell throws on purpose. `code` is stable and documented in docs/ERRORS.md; the text is for people. */
export class StepwellError extends Error {
  readonly code: string

  constructor(code: string, message: string, options?: ErrorOptions) {
    super(message, options)
    this.code = code
    this.name = new.target.name
  }
}

/** `endStep` of a step that is not open in the trace. Code `STEP_NOT_STARTED`; nothing was recorded. */
export class StepNotStartedError extends StepwellError {
  constructor(name: unknown) {
    super('STEP_NOT_STARTED', `Step '${textOf(name)}' was not started`)
  }
}

/** A status outside the allowed ones. Code `INVALID_STATUS`; nothing was recorded. */
export class InvalidStatusError extends StepwellError {
  constructor(status: unknown, allowed: readonly string[]) {
    super('INVALID_STATUS', `Invalid status '${textOf(status)}': use one of ${allowed.join(', ')}`)
  }
}

/** An argument or option that cannot be used: wrong type, out of range, unreadable. Code `INVALID_INPUT`. */
export class InvalidInputError extends StepwellError {
  constructor(message: string, options?: ErrorOptions) {
    super('INVALID_INPUT', message, options)
  }
}

/**
 * No single trace is meant: none is open in this flow, or several are and the flow does not say which.
 * Codes `NO_CURRENT_TRACE` and `AMBIGUOUS_TRACE`.
 */
export class TraceContextError extends StepwellError {
  constructor(openTraces: number) {
    super(
      openTraces === 0 ? 'NO_CURRENT_TRACE' : 'AMBIGUOUS_TRACE',
      openTraces === 0
        ? 'No trace is open here: call startTrace() first, or run inside tracer.trace()'
        : `${openTraces} traces are open and this flow belongs to none of them: use tracer.trace(), or recorder.bind(traceId)`,
    )
  }
}
