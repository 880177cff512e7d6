import { assemble, type Delta, newTraceId, PartTable, type RunPart, rowOfState } from '@stepwell/protocol'
import { beforeEach, expect, test } from 'vitest'
import { Gathering, saidOfRun, wholeRunOf } from './gathering.ts'
import { makeShards, type Shard, type Ticket } from './shard.ts'

const [shard] = makeShards('stepwell', 1) as [Shard]
let gathering: Gathering

beforeEach(() => {
  gathering = new Gathering()
  gathering.noteAlone(true)
  gathering.noteAlone(true)
})

const partOf = (text: string): RunPart | undefined => new PartTable(Buffer.from(text)).read(0)

/** In the order of our client. */
function deltaOf(t: string, rest: { [K in keyof Delta]?: Delta[K] | undefined }): Delta {
  const { k, b, x, m, r, s, n, e } = { k: 'gathered', n: [0, 0], ...rest }
  return JSON.parse(JSON.stringify({ t, k, b, x, m, r, s, n, e }))
}

function add(
  t: string,
  rest: { [K in keyof Delta]?: Delta[K] | undefined },
  { nowMs = 0, producer = 'p' } = {},
) {
  const delta = deltaOf(t, rest)
  const ticket: Ticket = { shard, id: '1-0', producer, field: `${producer}:1`, open: 1, dead: false }
  const text = JSON.stringify(delta)
  return gathering.add(ticket, partOf(text) ?? delta, 0, nowMs)
}

test('what comes of a run leaves with its end, as it came', () => {
  const [t, other] = [newTraceId(1e12), newTraceId(1e12)]
  expect([add(t, { b: 1, x: 'née "},{' }), add(other, { b: 1 })]).toEqual(['kept', 'kept'])
  expect(add(t, { k: undefined, s: [['a.1', 'helper']] }, { producer: 'a' })).toBe('kept')
  const run = add(t, { e: ['s', 1, 1] })
  if (typeof run === 'string') throw new Error(run)
  expect(saidOfRun(run)).toEqual([
    { producer: '', delta: { t, k: 'gathered', b: 1, x: 'née "},{', n: [0, 0] } },
    { producer: 'a', delta: { t, s: [['a.1', 'helper']], n: [0, 0] } },
    { producer: '', delta: { t, k: 'gathered', n: [0, 0], e: ['s', 1, 1] } },
  ])
  expect(add(t, { s: [[1, 'late']] })).toBe('passed')
  expect(gathering.take(Number.POSITIVE_INFINITY)).toMatchObject([{ trace: other }])
})

test('a run gathers from its beginning for its time', () => {
  const [first, second] = [newTraceId(1e12), newTraceId(1e12)]
  expect(add(first, { s: [[1, 'no beginning']] })).toBe('passed')
  add(first, { b: 1 }, { nowMs: 0 })
  add(second, { b: 1 }, { nowMs: 1 })
  add(first, { s: [[1, 'a']] }, { nowMs: 2_000 })
  expect(gathering.take(0)).toEqual([])
  const taken = gathering.take(1)
  expect(taken).toMatchObject([{ trace: first }])
  expect(taken[0]?.texts).toHaveLength(2)
  expect([add(first, { e: ['s', 1, 1] }), add(second, { s: [[1, 'a']] })]).toEqual(['passed', 'kept'])
})

test('only of a worker that was alone twice, and all of it goes when somebody comes', () => {
  gathering = new Gathering()
  gathering.noteAlone(true)
  const t = newTraceId(1e12)
  expect(add(t, { b: 1 })).toBe('passed')
  gathering.noteAlone(true)
  expect(add(t, { b: 1 })).toBe('kept')
  gathering.noteAlone(false)
  expect([add(newTraceId(1e12), { b: 1 }), add(t, {})]).toEqual(['passed', 'kept'])
  expect(gathering.take(0)).toMatchObject([{ trace: t }])
  expect(gathering.take(0)).toEqual([])
})

test('a run that becomes too large leaves, and so does what is too much together', () => {
  const large = { s: [[1, 'x'.repeat(20_000), 0, 1]] } satisfies Partial<Delta>
  const t = newTraceId(1e12)
  add(t, { b: 1, ...large })
  expect([add(t, large), add(t, large)]).toEqual(['kept', 'kept'])
  expect(add(t, large)).toMatchObject({ trace: t, texts: { length: 4 } })
  let runs = 0
  while (add(newTraceId(1e12), { b: 1, ...large }) === 'kept') runs += 1
  expect(runs).toBeGreaterThan(400)
  expect(runs).toBeLessThan(1_000)
  const taken = gathering.take(Number.POSITIVE_INFINITY)
  expect(taken).toHaveLength(runs)
  expect(add(t, { b: 1 })).toBe('kept')
})

const END: Partial<Delta> = { n: [3, 3], e: ['s', 9, 8.5] }
const step = (id: number): Partial<Delta> => ({ s: [[id, `step-${id}`, id, 1.5]], n: [id, id] })
const begin = { b: 1, x: 'exec', m: { env: 'prod' }, r: 1 } satisfies Partial<Delta>

function gathered(parts: readonly Partial<Delta>[]) {
  const t = newTraceId(1e12)
  const [run] = parts.map((part) => add(t, part)).slice(-1)
  if (run === undefined || typeof run === 'string') throw new Error(run)
  const end = deltaOf(t, parts.at(-1) ?? {})
  return { run, whole: wholeRunOf(run, partOf(JSON.stringify(end)) ?? end) }
}

/** Names and texts in metadata and attributes as those that are looked for in a part. */
const like = {
  a: [1],
  s: [[1]],
  n: [2, 2],
  text: 'say "n":[1,1]],\\"s":[',
  more: [{ t: 'x' }, { s: [], n: [] }],
  e: ['s'],
}
const likeStep = (id: number): Partial<Delta> => ({
  s: [[id, 'like', 0, 1, 0, null, null, like]],
  n: [id, id],
})

test.each([
  ['each step alone', [begin, step(1), step(2), step(3), END]],
  ['with metadata like a part', [{ ...begin, m: like, ...step(1) }, step(2), step(3), END]],
  ['with metadata like counts', [{ ...begin, m: { a: [1], n: [2, 2] } }, step(1), step(2), step(3), END]],
  ['with attributes like parts', [{ ...begin, ...likeStep(1) }, likeStep(2), { ...likeStep(3), ...END }]],
  ['steps with the beginning and the end', [{ ...begin, ...step(1) }, step(2), { ...step(3), ...END }]],
  [
    'nothing between',
    [
      {
        ...begin,
        s: [
          [1, 'a', 0, 1],
          [2, 'b', null, 1, 1],
          [3, 'c', 0, 1, 0, null, 1, { a: 1 }],
        ],
        n: [3, 3],
      },
      END,
    ],
  ],
] as [string, Partial<Delta>[]][])('a run that went well is stored as it stands: %s', (_, parts) => {
  const { run, whole } = gathered(parts)
  const row = rowOfState(assemble(saidOfRun(run)))
  if (whole === undefined) throw new Error('it is not whole')
  expect(rowOfState(assemble([{ producer: '', delta: whole.delta() }]))).toEqual(row)
  expect([row.missing_steps, row.merge_state, row.status]).toEqual([0, null, 'success'])
})

test.each([
  ['a step is missing', [begin, step(1), step(3), END]],
  ['more was started than is there', [begin, { ...step(1), n: [4, 1] }, step(2), step(3), END]],
  ['less is there in the end', [begin, step(1), step(2), END]],
  ['a step was said twice', [begin, step(1), step(2), step(2), step(3), END]],
  ['a step was open', [begin, { s: [[1, 'a', 0]], n: [1, 0] }, step(1), step(2), step(3), END]],
  ['the metadata was revised', [begin, step(1), { ...step(2), m: { a: 1 }, r: 2 }, step(3), END]],
  ['it failed', [begin, step(1), step(2), step(3), { n: [3, 3], e: ['f', 9, 9, 'lost'] }]],
  [
    'a helper was at work',
    [begin, step(1), { k: undefined, s: [['a.1', 'helped', 0, 1]] }, step(2), step(3), END],
  ],
  ['it began twice', [begin, step(1), { ...begin, x: 'other' }, step(2), step(3), END]],
  ['it has two names', [begin, step(1), { ...step(2), k: 'other' }, step(3), END]],
  ['metadata are like steps, and come without', [{ ...begin, m: like }, step(1), step(2), step(3), END]],
  ['it has no steps', [begin, { e: ['s', 1, 1] }]],
] as [string, Partial<Delta>[]][])('and assembled where %s', (_, parts) => {
  expect(gathered(parts).whole).toBeUndefined()
})
