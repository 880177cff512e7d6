import { assemble, encodeFrame, metadataBits, newTraceId, RunPart, rowOfState } from '@stepwell/protocol'
import { readFrame } from '@stepwell/protocol/schema'
import { expect, test } from 'vitest'
import { type RowToWrite, rowToWrite, upsertQuery } from './upsert-query.ts'

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
  const rows = [whole, assembled]
  const sent = rows.map((row) => {
    const { text, bound } = upsertQuery('execution_traces', [row], Date.UTC(2026, 4, 1))
    return { text, values: bound.values }
  })
  expect(sent[0]).toEqual(sent[1])
})

/** What the column of metadata bits, the last that all rows have, is bound as. */
function bitsOf(values: readonly Buffer[]): (bigint | null)[] {
  const array = values.at(-1) as Buffer
  const bits: (bigint | null)[] = []
  for (let at = 20; at < array.length; ) {
    const size = array.readInt32BE(at)
    bits.push(size < 0 ? null : array.readBigInt64BE(at + 4))
    at += 4 + Math.max(0, size)
  }
  return bits
}

test('each row has the bits of its own metadata in its own version, whatever stood in the row before', () => {
  const long = (length: number, letter: string) => ({ long: letter.repeat(length - '{"long":""}'.length) })
  // Among them such that are as long as what comes before them, and the longest that is remembered, and the shortest that is not.
  const metadata: (object | undefined)[] = [
    undefined,
    {},
    undefined,
    { env: 'prod' },
    { env: 'test' },
    { env: 'tesT' },
  ]
  for (const length of [256, 257]) metadata.push(long(length, 'x'), long(length, 'y'), {})
  const runs = metadata.map((m) => wholeRun(m === undefined ? {} : { m }))
  const versions = [1, 2, 127, 128, 1]
  const inVersion = (run: RunPart, version: number): RowToWrite =>
    rowToWrite(rowOfState(assemble([{ producer: '', delta: run.delta() }])), null, version)
  const rows: RowToWrite[] = [
    ...runs,
    ...versions.flatMap((version) => runs.map((run) => inVersion(run, version))),
    ...runs.flatMap((run) => [run, ...versions.map((version) => inVersion(run, version))]),
  ]
  const expected = rows.map(({ bytes, metadataFrom, metadataTo, rest }) =>
    metadataBits(bytes.toString('utf8', metadataFrom, metadataTo) || '{}', rest?.version ?? 1),
  )
  expect(bitsOf(upsertQuery('execution_traces', rows, 0).bound.values)).toEqual(expected)
})
