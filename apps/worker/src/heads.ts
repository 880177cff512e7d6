import { type Delta, isCompleted, producerOfField, producerOfStep, type TraceState } from '@stepwell/protocol'
import type { OpenTrace } from './finalizer.ts'

/**
 * The producers whose silence means that the trace is dead: the owner, and others with a step open in it. One that only
 * once added a step may live for ever, and says nothing about this trace by it. Without a known owner all count.
 */
export function producersAtWork({ said, fields }: Pick<OpenTrace, 'said' | 'fields'>): string[] {
  const latest = new Map<string, { started: number; completed: number }>()
  let owner: string | undefined
  for (const [i, field] of fields.entries()) {
    const producer = producerOfField(field)
    const { k, n } = deltaAt(said, i)
    if (k !== undefined) owner = producer
    const known = latest.get(producer) ?? { started: 0, completed: 0 }
    latest.set(producer, {
      started: Math.max(known.started, n[0]),
      completed: Math.max(known.completed, n[1]),
    })
  }
  if (owner === undefined) return [...latest.keys()]
  return [...latest]
    .filter(([producer, { started, completed }]) => producer === owner || started > completed)
    .map(([p]) => p)
}

/**
 * What has to stay in the open state of a trace whose deltas are in its row: who is at work in it, and in which steps. Of each
 * producer at work the delta that counts furthest, with its open steps, and the beginning; both without the rest.
 */
export function headsOf(trace: Pick<OpenTrace, 'said' | 'fields'>, state: TraceState): Map<string, Delta> {
  const { said, fields } = trace
  const atWork = new Set(producersAtWork(trace))
  const furthest = new Map<string, number>()
  const heads = new Map<string, Delta>()
  for (const [i, field] of fields.entries()) {
    const producer = producerOfField(field)
    const delta = deltaAt(said, i)
    if (delta.b === 1) heads.set(field, headOf(delta))
    const before = furthest.get(producer)
    if (atWork.has(producer) && (before === undefined || isFurther(delta, deltaAt(said, before))))
      furthest.set(producer, i)
  }
  for (const [producer, i] of furthest) {
    const delta = deltaAt(said, i)
    const prefix = delta.k === undefined ? producer : ''
    const open = state.steps.filter((step) => !isCompleted(step) && producerOfStep(step[0]) === prefix)
    heads.set(fields[i] as string, { ...headOf(delta), ...(open.length === 0 ? {} : { s: open }) })
  }
  return heads
}

const deltaAt = (said: OpenTrace['said'], i: number): Delta => (said[i] as OpenTrace['said'][number]).delta

const isFurther = ({ n }: Delta, than: Delta): boolean =>
  n[0] > than.n[0] || (n[0] === than.n[0] && n[1] > than.n[1])

function headOf({ t, s, m, r, ...rest }: Delta): Delta {
  return { t, ...rest }
}
