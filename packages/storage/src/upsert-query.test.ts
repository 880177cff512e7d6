import { assemble, encodeFrame, newTraceId, RunPart, rowOfState } from '@stepwell/protocol'
import { readFrame } from '@stepwell/protocol/schema'
import { expect, test } from 'vitest'
import { OF_WHOLE_RUN, rowToWrite, upsertQuery } from './upsert-query.ts'

function wholeRun(rest: object): RunPart {
  const t = newTraceId(Date.UTC(2026, 4, 1))
  const s = [
    [1, 'load é😀', 0.25, 3.7],
    [2, 'build', 4, 1, 1, null, 1, { model: 'x', 'usage.input_tokens': 812, long: 'y'.repeat(100) }],
  ]
  const run = { t, k: 'bäuild', b: 1, ...rest, s, n: [2, 2], e: ['s', 5, 5.125] }
  const counters = { emitted: 4, acked: 0, dropped: {} }
  // It does not stand at the beginning.
  const deltas = JSON.stringify([{ t, n: [0, 0] }, run])
  const frame = encodeFrame({ producer: 'p', number: 1, deltaCount: 2, counters, deltas })
  const read = readFrame(frame, Date.UTC(2026, 5, 1))
  const [, whole] = read.ok ? read.deltas : []
  if (!(whole instanceof RunPart && whole.isWhole)) throw new Error('it was parsed')
  return whole
}

test.each([
  ['with all there is', { x: 'exec-é', m: { env: 'prod', region: 'ü' }, r: 1 }],
  ['with nothing besides', {}],
])('a run is written as the row that assembling it gives: %s', (_, rest) => {
  const whole = wholeRun(rest)
  const assembled = rowToWrite(rowOfState(assemble([{ producer: '', delta: whole.delta() }])), null, 1)
  const rows = [{ run: whole, rest: OF_WHOLE_RUN }, assembled]
  const sent = rows.map((row) => {
    const { text, bound } = upsertQuery('execution_traces', [row], Date.UTC(2026, 4, 1))
    return { text, values: bound.values }
  })
  expect(sent[0]).toEqual(sent[1])
})
