import { isCompleted, openStep } from './assemble.ts'
import type { StepTuple } from './delta.ts'
import type { StepId, TraceStatus } from './trace.ts'

/**
 * The name of the step that a trace failed in, or timed out in; null where none is known, and for all others. Of the steps that failed the
 * one that ended last (earlier ones were got over), and of those that failed inside it again the last, down to where it began. Else
 * the open step that started last. A timeout is looked for the other way round: first the step that it hangs in. Takes time linear in the steps.
 */
export function failedStep(status: TraceStatus, steps: readonly StepTuple[]): string | null {
  if (status === 'timeout') return (openStep({ steps }) ?? brokenOne(steps))?.[1] ?? null
  if (status === 'failed') return (brokenOne(steps) ?? openStep({ steps }))?.[1] ?? null
  return null
}

const endOf = (step: StepTuple): number => (step[2] ?? 0) + (step[3] ?? 0)

function brokenOne(steps: readonly StepTuple[]): StepTuple | undefined {
  const broken = steps.filter((step) => isCompleted(step) && (step[4] ?? 0) !== 0)
  if (broken.length < 2) return broken[0]
  const lastOf = new Map<StepId | null, StepTuple>()
  let found = broken[0] as StepTuple
  for (const step of broken) {
    if (endOf(step) >= endOf(found)) found = step
    const last = lastOf.get(step[6] ?? null)
    if (last === undefined || endOf(step) >= endOf(last)) lastOf.set(step[6] ?? null, step)
  }
  // Steps may claim to be in one another: each is passed once.
  for (;;) {
    const inner = lastOf.get(found[0])
    lastOf.delete(found[0])
    if (inner === undefined) return found
    found = inner
  }
}
