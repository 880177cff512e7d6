import type { ExecutionTracer } from '@stepwell/client'

/** Steps of a run, and the events they make with its beginning and its end. */
export const STEPS = 10
export const EVENTS = STEPS + 2

/** What is recorded. */
export interface Load {
  /**
   * `short`: runs that end within a flush window; `failing`: the same, of which one in a hundred fails with a message;
   * `long`: runs side by side whose every step travels alone.
   */
  kind: 'short' | 'failing' | 'long'
  traces: number
}

/** Records one run that is over at once. */
export function recordShortRun(tracer: ExecutionTracer, i: number, kind: Load['kind']): void {
  const options = { executionId: `exec-${process.pid}-${i}`, metadata: { env: 'prod', region: 'eu' } }
  tracer.trace('docker-build', options, (t) => {
    for (let k = 0; k < STEPS - 1; k++) t.recordStep(`step-${k}`, k * 3.7)
    if (kind === 'failing' && i % 100 === 0) {
      const message = `connect ECONNREFUSED 10.0.${i % 256}.${i % 251}:6379`
      t.recordStep('step-9', 33.3, 'failed', message)
      t.fail(new Error(message))
    } else t.recordStep('step-9', 33.3)
  })
}
