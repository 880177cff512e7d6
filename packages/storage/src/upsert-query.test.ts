import { assemble, encodeFrame, newTraceId, rowOfState, WholeRun } from '@stepwell/protocol'
import { readFrame } from '@stepwell/protocol/schema'
import { expect, test } from 'vitest'
import { rowToWrite, runToWrite } from './upsert-query.ts'

test('a run is written as the row that assembling it gives', () => {
  const t = newTraceId(Date.UTC(2026, 4, 1))
  const s = [
    [1, 'load', 0.25, 3.7],
    [2, 'build', 4, 1, 1, null, 1, { model: 'x', 'usage.input_tokens': 812 }],
  ]
  const run = { t, k: 'build', b: 1, x: 'exec-1', m: { env: 'prod' }, r: 1, s, n: [2, 2], e: ['s', 5, 5.125] }
  const counters = { emitted: 4, acked: 0, dropped: {} }
  const deltas = JSON.stringify([run])
  const frame = encodeFrame({ producer: 'p', number: 1, deltaCount: 1, counters, deltas })
  const read = readFrame(frame, Date.UTC(2026, 5, 1))
  const [whole] = read.ok ? read.deltas : []
  if (!(whole instanceof WholeRun)) throw new Error('it was parsed')
  const { run: held, rest } = rowToWrite(
    rowOfState(assemble([{ producer: '', delta: whole.delta() }])),
    null,
    1,
  )
  expect(runToWrite(whole)).toMatchObject({ run: held, rest })
})
