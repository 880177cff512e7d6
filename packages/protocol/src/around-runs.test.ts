import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { assemble } from './assemble.ts'
import type { Delta } from './delta.ts'
import { saidOfOneTrace } from './delta-arbitrary.test.ts'
import { encodeFrame } from './frame.ts'
import { isPlainDelta } from './plain-delta.ts'
import { cleanJson, ERROR_MAX_LENGTH } from './plain-json.ts'
import { PartTable } from './read-parts.ts'
import { rowOfState } from './row.ts'
import { RunPart } from './run-part.ts'
import { decodeFrame, readFrame } from './schema.ts'

const NOW = Date.UTC(2026, 5, 1)
const ID = '019ac678-d900-7000-8000-000000000001'

const name = fc.constantFrom('load', 'step-1', 'a],[2,', 'é😀', '\u2028', '')
const ms = fc.nat(5_000_000).map((micros) => micros / 1000)
const key = fc.constantFrom('env', '__proto__', '2', 'usage.input_tokens', 'a "b"\n')
const said = fc.constantFrom('say "it"\n\tC:\\\u0001\u001f', '\0', 'half \ud800', '{"t":"', '],[2,')
/** What metadata and attributes may hold; mostly flat. */
const { object } = fc.letrec<{ value: unknown; object: Record<string, unknown> }>((tie) => ({
  value: fc.oneof(
    { weight: 9, arbitrary: fc.oneof(name, ms, fc.constantFrom(null, true, false, -0.25, 7)) },
    { weight: 1, arbitrary: said },
    { weight: 1, arbitrary: fc.array(tie('value'), { maxLength: 3 }) },
    { weight: 1, arbitrary: tie('object') },
  ),
  object: fc.dictionary(key, tie('value')),
}))

/** The step with this id, as clients write it; mostly short. */
const step = (id: number): fc.Arbitrary<unknown[]> =>
  fc.oneof(
    { weight: 4, arbitrary: fc.tuple(fc.constant(id), name, fc.option(ms), ms) as fc.Arbitrary<unknown[]> },
    fc.tuple(fc.constant(id), name, ms, ms, fc.constantFrom(1, 2)) as fc.Arbitrary<unknown[]>,
    fc.tuple(fc.constant(id), name, ms, ms, fc.nat(2), fc.constant('lost "it"')) as fc.Arbitrary<unknown[]>,
    fc.tuple(fc.constant(id), name, ms, ms, fc.nat(2), fc.constant('lost')) as fc.Arbitrary<unknown[]>,
    fc.tuple(fc.constant(id), name, ms, ms, fc.nat(2), fc.constant(null), fc.constant(1)) as fc.Arbitrary<
      unknown[]
    >,
    fc.tuple(
      ...[fc.constant(id), name, ms, ms, fc.nat(2), fc.constant(null), fc.option(fc.constant(1)), object],
    ) as fc.Arbitrary<unknown[]>,
  )

/** JSON text of a whole run, in the order of our client. */
const runText: fc.Arbitrary<string> = fc
  .record({
    x: fc.option(fc.constantFrom('exec-1', 'é'), { nil: undefined }),
    m: fc.option(object, { nil: undefined }),
    s: fc
      .integer({ min: 1, max: 12 })
      .chain((n) => fc.tuple(...Array.from({ length: n }, (_, i) => step(i + 1)))),
    e: fc.tuple(fc.constant('s'), fc.oneof(ms, fc.constant(-2.5)), ms),
  })
  .map(({ x, m, s, e }) => {
    const run = { t: ID, k: 'build', b: 1, x, m, r: m && 1, s, n: [s.length, s.length], e }
    return JSON.stringify(run)
  })

/** One of the deltas that it is said in over several flushes. */
const partText: fc.Arbitrary<string> = fc.tuple(runText, fc.nat(), fc.nat()).map(([text, from, to]) => {
  const { t, k, b, x, m, r, s, n, e } = JSON.parse(text) as Delta & { s: unknown[] }
  const [first, last] = [from % s.length, to % (s.length + 1)]
  const some = first < last ? { s: s.slice(first, last) } : undefined
  const begin = first === 0 ? { b, x, m, r } : undefined
  return JSON.stringify({
    t,
    k,
    ...begin,
    ...some,
    n: [last, last],
    ...(last === n[0] && first > 0 ? { e } : undefined),
  })
})

/** The run that the text begins with. */
function wholeRun(text: string): RunPart | undefined {
  const part = new PartTable(Buffer.from(text)).read(0)
  return part?.isWhole ? part : undefined
}

const frameOf = (text: string, deltaCount: number): string[] =>
  encodeFrame({
    producer: 'p',
    number: 1,
    deltaCount,
    counters: { emitted: 0, acked: 0, dropped: {} },
    deltas: text,
  })

/** What a run stands for, in the place of each. */
const parsed = (read: ReturnType<typeof readFrame>): unknown =>
  read.ok
    ? {
        ...read,
        deltas: read.deltas.map((delta) => (delta instanceof RunPart ? delta.delta() : delta)),
      }
    : read

test('a frame is read as it is decoded, whatever is in it', () => {
  const other = saidOfOneTrace.map((all) => JSON.stringify(all[0]?.delta))
  // Has a run in it that is none.
  const trap = runText.map(
    (text) => `{"t":"${ID}","k":"a","m":{"a":[{"t":"x"},${text},{"t":"y"}]},"n":[0,0]}`,
  )
  let [runs, parts] = [0, 0]
  fc.assert(
    fc.property(
      fc.array(
        fc.oneof(
          { weight: 6, arbitrary: runText },
          { weight: 6, arbitrary: partText },
          { weight: 2, arbitrary: other },
          { weight: 1, arbitrary: trap },
        ),
        { maxLength: 6 },
      ),
      (texts) => {
        const frame = frameOf(`[${texts.join()}]`, texts.length)
        const read = readFrame(frame, NOW)
        expect(parsed(read)).toEqual(decodeFrame(frame, NOW))
        if (!read.ok) return
        for (const part of read.deltas) {
          if (!(part instanceof RunPart)) continue
          expectPart(part)
          if (part.isWhole) runs += 1
          else parts += 1
        }
      },
    ),
    { numRuns: 1_000 },
  )
  expect(runs).toBeGreaterThan(300)
  expect(parts).toBeGreaterThan(300)
})

/** How programs of other makers write JSON: what stands between values and how numbers, letters and keys are written is theirs to choose. */
interface Spelling {
  space: string
  number(value: number): string
  string(json: string): string
  keys(keys: string[]): string[]
}

/** Mostly as our client writes it, which is read by a way of its own. */
const mostly = <T>(ours: T, ...others: T[]): fc.Arbitrary<T> =>
  fc.oneof({ weight: 6, arbitrary: fc.constant(ours) }, { weight: 1, arbitrary: fc.constantFrom(...others) })

const spelling: fc.Arbitrary<Spelling> = fc.record({
  space: mostly('', ' ', '\n  ', '\t'),
  number: mostly<Spelling['number']>(
    String,
    // Python's floats, C's %e, and those who write all digits.
    (value) => (Number.isInteger(value) ? `${value}.0` : String(value)),
    (value) => (Number.isInteger(value) ? value.toExponential() : String(value)),
    (value) => value.toExponential(20).replace('e', 'E'),
  ),
  string: mostly<Spelling['string']>(
    (json) => json,
    (json) => json.replace(/[^ -~]/g, (char) => `\\u${char.charCodeAt(0).toString(16).padStart(4, '0')}`),
    (json) =>
      json.includes('\\')
        ? json
        : json.replace(/[a-z]/, (char) => `\\u00${char.charCodeAt(0).toString(16).toUpperCase()}`),
  ),
  keys: mostly<Spelling['keys']>(
    (keys) => keys,
    (keys) => keys.toReversed(),
    (keys) => keys.toSorted(),
    // Once more: the last one counts.
    (keys) => [...keys, ...keys.slice(0, 1)],
  ),
})

/** The same JSON, written otherwise. */
function spell(value: unknown, how: Spelling): string {
  const { space } = how
  if (typeof value === 'number') return how.number(value)
  if (typeof value === 'string') return how.string(JSON.stringify(value))
  if (typeof value !== 'object' || value === null) return String(value)
  if (Array.isArray(value)) return `[${space}${value.map((one) => spell(one, how)).join(`,${space}`)}]`
  const said = new Map(Object.entries(value))
  const members = how
    .keys([...said.keys()])
    .map((key) => `${spell(key, how)}:${space}${spell(said.get(key), how)}`)
  return `{${space}${members.join(`,${space}`)}${space}}`
}

test('a frame of another maker is read as it is decoded, however its JSON is written', () => {
  let runs = 0
  fc.assert(
    fc.property(fc.array(fc.oneof(runText, partText), { maxLength: 4 }), spelling, (texts, how) => {
      const spelled = texts.map((text) => spell(JSON.parse(text), how))
      const frame = frameOf(`[${spelled.join()}]`, spelled.length)
      const read = readFrame(frame, NOW)
      expect(parsed(read)).toEqual(decodeFrame(frame, NOW))
      expect(decodeFrame(frame, NOW)).toMatchObject({
        deltas: texts.map((text) => cleanJson(JSON.parse(text))),
      })
      for (const [i, delta] of (read.ok ? read.deltas : []).entries()) {
        if (!(delta instanceof RunPart && delta.isWhole)) continue
        runs += 1
        expectRow(delta, spelled[i] as string)
      }
    }),
    { numRuns: 1_000 },
  )
  expect(runs).toBeGreaterThan(100)
})

test('a run tells what its row has, and its steps as they are stored', () => {
  let seen = 0
  fc.assert(
    fc.property(runText, (text) => {
      const run = wholeRun(text)
      if (run === undefined) return
      seen += 1
      expectRow(run, text)
    }),
    { numRuns: 1_000 },
  )
  expect(seen).toBeGreaterThan(300)
})

test('nothing is read as a run that is not one, however little is changed in its text', () => {
  const change = fc.tuple(
    fc.nat(),
    fc.nat(3),
    fc.constantFrom(
      ...'0123456789-.eE,:"\\[]{} \n\u0001tsfn',
      '00',
      ',0',
      ',null',
      '.0',
      '1,',
      '],[2,"',
      '123456789',
    ),
  )
  let seen = 0
  fc.assert(
    fc.property(runText, fc.array(change, { minLength: 1, maxLength: 2 }), (text, changes) => {
      const changed = changes.reduce((now, [at, taken, put]) => {
        const place = at % now.length
        return now.slice(0, place) + put + now.slice(place + taken)
      }, text)
      const run = wholeRun(changed)
      if (run === undefined) return
      seen += 1
      expectRow(run, Buffer.from(changed).toString('utf8', 0, run.end))
    }),
    { numRuns: 8_000 },
  )
  expect(seen).toBeGreaterThan(500)
})

function expectPart(part: RunPart): void {
  const { t, k, b, x, m = {}, s = [], n, e } = part.delta()
  expect([
    part.t,
    part.k,
    part.b,
    part.x,
    JSON.parse(part.bytes.toString('utf8', part.metadataFrom, part.metadataTo) || '{}'),
  ]).toEqual([t, k, b, x, m])
  expect([part.started, part.completed, part.stepCount, part.firstStep]).toEqual([
    ...n,
    s.length,
    s[0]?.[0] ?? 0,
  ])
  expect(JSON.parse(part.bytes.toString('utf8', part.stepsFrom, part.stepsTo) || '[]')).toEqual(s)
  expect(part.e).toEqual(e?.slice(1))
}

function expectRow(run: RunPart, text: string): void {
  expect(run.text).toBe(text)
  const textOf = (from: number, to: number): string => run.bytes.toString('utf8', from, to)
  const delta = JSON.parse(text) as Delta
  expect(isPlainDelta(delta)).toBe(true)
  const { started_at, completed_at, metadata, steps, ...row } = rowOfState(
    assemble([{ producer: '', delta }]),
  )
  expect(row).toEqual({
    trace_id: run.t,
    skill_name: textOf(run.skillFrom, run.skillTo),
    execution_id: run.x ?? null,
    status: 'success',
    total_duration_ms: run.durationMs,
    step_count: run.stepCount,
    missing_steps: 0,
    error_message: null,
    parent_trace_id: null,
    parent_step_id: null,
    root_trace_id: null,
    merge_state: null,
  })
  expect(started_at.getTime()).toBe(run.startedAtMs)
  expect(completed_at?.getTime()).toBe(run.completedAtMs)
  expect(JSON.parse(textOf(run.metadataFrom, run.metadataTo) || '{}')).toEqual(metadata)
  expect(JSON.parse(textOf(run.stepsFrom, run.stepsTo))).toEqual(steps)
  expect(textOf(run.idFrom, run.idFrom + 36)).toBe(run.t)
  expect(textOf(run.executionIdFrom, run.executionIdTo)).toBe(run.x ?? '')
}

test('a frame that is cut off, or goes on behind its end, is read as it is decoded', () => {
  const run = JSON.stringify({ t: ID, k: 'build', b: 1, s: [[1, 'a', 0, 1]], n: [1, 1], e: ['s', 1, 1] })
  const text = `[${run},{"t":"${ID}","n":[1,0]},${run}]`
  expect(readFrame(frameOf(text, 3), NOW)).toMatchObject({ deltas: [{ stepCount: 1 }, {}, { stepCount: 1 }] })
  for (const more of ['', ',', ']', '[', ',]', '},{"t":"', ' '])
    for (let length = 0; length <= text.length; length++) {
      const frame = frameOf(text.slice(0, length) + more, 3)
      const read = readFrame(frame, NOW)
      expect(parsed(read), frame.at(-1)).toEqual(decodeFrame(frame, NOW))
    }
})

describe('what is left to be parsed', () => {
  const whole = {
    t: ID,
    k: 'build',
    b: 1,
    x: 'exec',
    m: { a: 1 },
    r: 1,
    s: [[1, 'a', 0, 5]],
    n: [1, 1],
    e: ['s', 1, 2],
  }
  const text = JSON.stringify(whole)
  test('not this', () => expect(wholeRun(text)).toBeDefined())
  test.each([
    ['a run that failed', { ...whole, e: ['f', 1, 2, 'lost'] }],
    ['one that ends with a message', { ...whole, e: ['s', 1, 2, 'lost'] }],
    ['one that has not ended', { ...whole, e: undefined }],
    ['one that began before', { ...whole, b: undefined }],
    ['one with a parent', { ...whole, u: [ID, 1, null] }],
    ['one whose metadata was revised', { ...whole, r: 2 }],
    ['one without steps', { ...whole, s: [], n: [0, 0] }],
    ['one that lacks a step', { ...whole, n: [2, 1] }],
    ['one with an open step', { ...whole, s: [[1, 'a', 0]], n: [1, 0] }],
    [
      'steps in another order',
      {
        ...whole,
        s: [
          [2, 'b', 0, 5],
          [1, 'a', 0, 5],
        ],
        n: [2, 2],
      },
    ],
    [
      'a step said twice',
      {
        ...whole,
        s: [
          [1, 'b', 0, 5],
          [1, 'a', 0, 5],
        ],
        n: [2, 2],
      },
    ],
    ['a step corrected', { ...whole, s: [[1, 'a', 0, 5, 1, null, null, null, 1]] }],
    ['a default at the end of a step', { ...whole, s: [[1, 'a', 0, 5, 0]] }],
    ['several', { ...whole, s: [[1, 'a', 0, 5, 1, null, null]] }],
    ['an escape', { ...whole, k: 'a"b' }],
    ['metadata that nest deep', { ...whole, m: JSON.parse(`${'{"a":['.repeat(17)}${']}'.repeat(17)}`) }],
    ['lists that do', { ...whole, m: { a: JSON.parse('['.repeat(32) + ']'.repeat(32)) } }],
    ['a NUL', { ...whole, m: { a: '\0' } }],
    ['half of a pair', { ...whole, m: { a: ['\ud800'] } }],
    ['an id that does not tell the start', { ...whole, t: '0fee1bad-0000-4000-8000-00000000cafe', at: 1e12 }],
    ['a skill without a name', { ...whole, k: '' }],
    ['a name that is too long', { ...whole, s: [[1, 'a'.repeat(256), 0, 5]] }],
    ['a message that is too long', { ...whole, s: [[1, 'a', 0, 5, 1, 'x'.repeat(ERROR_MAX_LENGTH + 1)]] }],
    ['more than 15 digits', { ...whole, s: [[1, 'a', 0, 0.1 + 0.2]] }],
  ])('%s', (_, delta) => {
    expect(wholeRun(JSON.stringify(delta))).toBeUndefined()
  })
})
