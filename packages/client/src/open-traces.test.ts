import fc from 'fast-check'
import { expect, test } from 'vitest'
import { OpenTrace } from './open-trace.ts'
import { OpenTraces } from './open-traces.ts'

const traceOf = (traceId: string, executionId: string | undefined): OpenTrace =>
  new OpenTrace({
    traceId,
    startedAtMs: 0,
    skill: 'skill',
    executionId,
    metadata: undefined,
    serviceText: undefined,
    redactor: undefined,
    parent: undefined,
    limitMs: undefined,
    recentBudget: undefined,
    idPrefix: '',
    startPerfMs: undefined,
    nextStepNumber: undefined,
  })

test('those that began and did not end are there, in their order, and found by their ids, whenever that is asked first', () => {
  const act = fc.oneof(
    fc.record({ what: fc.constantFrom('begin', 'begin without', 'ask') }),
    fc.record({ what: fc.constant('end'), which: fc.nat(20) }),
    fc.constant({ what: 'clear' }),
  )
  fc.assert(
    fc.property(fc.array(act, { maxLength: 60 }), (acts) => {
      const open = new OpenTraces()
      const made: OpenTrace[] = []
      let expected: OpenTrace[] = []
      for (const one of acts) {
        if (one.what === 'clear') {
          open.clear()
          expected = []
        } else if (one.what.startsWith('begin')) {
          const id = String(made.length)
          const trace = traceOf(id, one.what === 'begin' ? `exec-${id}` : undefined)
          made.push(trace)
          expected.push(trace)
          open.add(trace)
        } else if ('which' in one && made[one.which] !== undefined) {
          open.delete(made[one.which] as OpenTrace)
          expected = expected.filter((trace) => trace !== made[one.which])
        } else if (one.what === 'ask') {
          for (const trace of made) {
            const found = expected.includes(trace) ? trace : undefined
            expect(open.get(trace.traceId)).toBe(found)
            if (trace.executionId !== undefined) expect(open.withExecutionId(trace.executionId)).toBe(found)
          }
        }
        expect([...open]).toEqual(expected)
        expect(open.size).toBe(expected.length)
      }
    }),
  )
})

test('of several with one execution id the newest is meant, and none that there was no room for', () => {
  for (const asksFirst of [true, false]) {
    const open = new OpenTraces()
    if (asksFirst) open.withExecutionId('exec')
    const [older, newer, refused] = ['1', '2', '3'].map((id) => traceOf(id, 'exec')) as [
      OpenTrace,
      OpenTrace,
      OpenTrace,
    ]
    refused.dropReason = 'buffer_full'
    for (const trace of [older, newer, refused]) open.add(trace)
    expect(open.withExecutionId('exec')).toBe(newer)
  }
})
