import type { ExecutionTracer } from '@stepwell/client'

/** Steps of a run, and the events they make with its beginning and its end. */
export const STEPS = 10
export const EVENTS = STEPS + 2

/** Steps of a run that is left open, and the events they make with its beginning. */
export const OPEN_STEPS = 5
export const OPEN_EVENTS = OPEN_STEPS + 1

/** What is recorded. */
export interface Load {
  /**
   * `short`: runs that end within a flush window; `failing`: the same, of which one in a hundred fails with a message; `agent`: the same, each
   * step with what an agent's has; `long`: runs side by side whose every step travels alone; `open`: the same, half done and left open.
   */
  kind: 'short' | 'failing' | 'agent' | 'long' | 'open'
  traces: number
  /** Steps of a run. Default: 10. */
  steps?: number
  /** Different skills. Default: 1. */
  skills?: number
  /** Of long runs, how many of a producer are open side by side. Default: all. */
  openAtOnce?: number
}

/** Records one run that is over at once; gives its id. */
export function recordShortRun(
  tracer: ExecutionTracer,
  i: number,
  { kind, steps = STEPS, skills = 1 }: Pick<Load, 'kind' | 'steps' | 'skills'>,
  skill = skillOf(i, skills),
): string {
  const options = { executionId: executionIdOf(i), metadata: { env: 'prod', region: 'eu' } }
  return tracer.trace(skill, options, (t) => {
    for (let k = 0; k < steps - 1; k++) {
      if (kind === 'agent') t.recordStep(`step-${k}`, k * 3.7, 'success', undefined, agentStep(i, k))
      else t.recordStep(`step-${k}`, k * 3.7)
    }
    if (kind === 'failing' && i % 100 === 0) {
      const message = `connect ECONNREFUSED 10.0.${i % 256}.${i % 251}:6379`
      t.recordStep('last', 33.3, 'failed', message)
      t.fail(new Error(message))
    } else t.recordStep('last', 33.3)
    return t.traceId
  })
}

/** Attributes that nest, and a text with a line break and quotes. */
const agentStep = (i: number, k: number) => ({
  attributes: {
    model: 'small-2',
    usage: { input_tokens: 812 + i, output_tokens: 42 + k },
    messages: [
      {
        role: 'user',
        content: `Summarise ticket ${i}, comment ${k}:\nthe build fails on the second machine, not on the first, with "no space left".`,
      },
    ],
  },
})

/** The skill of the i-th run. */
export const skillOf = (i: number, skills: number): string => `docker-build-${i % skills}`

/** Execution id of the i-th run of this process. */
export const executionIdOf = (i: number): string => `exec-${process.pid}-${i}`
