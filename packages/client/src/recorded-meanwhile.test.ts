import { expect, test } from 'vitest'
import { ExecutionTracer, type TraceHandle } from './index.ts'
import { memorySink } from './testing.ts'

/** Attributes that do something while they are read. */
const attributesThat = (act: () => void): object => ({
  before: 'x',
  get busy() {
    act()
    return 'done'
  },
  after: 'ä',
})

const ACTS: Record<string, (tracer: ExecutionTracer, t: TraceHandle) => void> = {
  'record a step of the same trace': (_tracer, t) => void t.recordStep('inner', 1, 'failed', 'bö'),
  'record steps of another trace': (tracer) =>
    tracer.trace('other', (other) => {
      other.recordStep('inner', 1, 'success', undefined, { attributes: { n: 1 } })
      other.step('nested', { attributes: attributesThat(() => other.recordStep('deep', 1)) }, () => {})
    }),
  'ask what the trace is': (tracer) => void tracer.getCurrentTrace(),
  'end the trace': (tracer) => tracer.endTrace('success'),
  flush: (tracer) => void tracer.flush(),
  throw: () => {
    throw new Error('no')
  },
}

test.each(Object.keys(ACTS))(
  'attributes that %s while they are read: every step is there, whole',
  async (name) => {
    const sink = memorySink()
    const tracer = new ExecutionTracer({ sink })
    const act = ACTS[name] as (typeof ACTS)[string]
    tracer.trace('run', (t) => {
      t.recordStep('first', 1)
      t.recordStep('busy', 2, 'success', undefined, { attributes: attributesThat(() => act(tracer, t)) })
      t.recordStep('last', 3)
    })
    const { emitted, sent } = await tracer.close()
    expect(emitted).toBe(sent)
    const [run] = sink.find('run')
    expect(run?.missingSteps).toBe(0)
    const steps = run?.steps.filter((step) => step.name !== 'inner') ?? []
    expect(steps.map((step) => [step.name, step.durationMs])).toEqual([
      ['first', 1],
      ['busy', 2],
      ['last', 3],
    ])
    const busy = name === 'throw' ? '[unreadable]' : 'done'
    expect(steps[1]?.attributes).toEqual({ before: 'x', busy, after: 'ä' })
    // They are read twice: for what is sent, and for what is given back.
    const others = sink.traces().flatMap((trace) => trace.steps).length - 3
    expect(others).toBe(
      { 'record a step of the same trace': 2, 'record steps of another trace': 6 }[name] ?? 0,
    )
  },
)
