import { type Delta, newTraceId, type RunPart } from '@stepwell/protocol'
import { expect, test } from 'vitest'
import type { Collector } from './collector.ts'
import type { Correlation } from './correlation.ts'
import { makeShards, type Shard, type Ticket } from './shard.ts'
import { emptySorted, Sorter } from './sorter.ts'

const [shard] = makeShards('stepwell', 1) as [Shard]
const nowMs = Date.now()

/** The whole runs that are collected of a frame with these deltas. */
function runsOf(deltas: object[]): RunPart[] {
  const runs: RunPart[] = []
  const collector = { addRun: (run: RunPart) => runs.push(run) } as unknown as Collector
  const correlation = { keep: 'hour' } as Correlation
  const sorter = new Sorter({ collector, correlation, dueIn: { soon: 1, checkpoint: 1 }, openDueInMs: 1 })
  const ticket: Ticket = { shard, id: `${nowMs}-0`, producer: '', field: '', open: 1, dead: false }
  const text = Buffer.from(JSON.stringify(deltas))
  const fields = ['v', '1', 'p', 'p', 'n', '1', 'c', String(deltas.length), 'd', text]
  sorter.sort(ticket, fields, false, nowMs, emptySorted())
  expect(ticket.open).toBe(1 + deltas.length)
  return runs
}

const whole = (): object => ({
  t: newTraceId(nowMs),
  k: 'é',
  b: 1,
  s: [[1, 'a', 0, 1]],
  n: [1, 1],
  e: ['s', 1, 1],
})
const open = (): Delta => ({ t: newTraceId(nowMs), k: 'long', b: 1, s: [[1, 'a', 0, 1]], n: [2, 1] })

test('whole runs stay where they are in a frame of such, and leave one that is mostly something else', () => {
  for (const [wholes, opens, isCopied] of [
    [3, 0, false],
    [2, 2, false],
    [1, 2, true],
    [2, 50, true],
  ] as const) {
    const deltas = [...Array.from({ length: wholes }, whole), ...Array.from({ length: opens }, open)]
    const texts = deltas.map((delta) => JSON.stringify(delta))
    const runs = runsOf(deltas)
    expect(runs.map(({ text }) => text)).toEqual(texts.slice(0, wholes))
    for (const run of runs) expect(run.bytes.length === Buffer.byteLength(run.text)).toBe(isCopied)
  }
})
