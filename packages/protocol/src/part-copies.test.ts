import { expect, test } from 'vitest'
import { newTraceId } from './ids.ts'
import { PartCopies } from './part-copies.ts'
import { PartTable } from './read-parts.ts'
import { compareIds, type RunPart } from './run-part.ts'

const START = Date.UTC(2026, 4, 1)
const NO_STEPS = { k: 'build', b: 1, n: [0, 0], e: ['s', 5, 1] }

/** Run `i` as clients write it: with all that it may have, or only what it must. */
function textOf(i: number, length = 0): string {
  const s = [[1, `load é ${'y'.repeat(length)}`.slice(0, 250), 0.25, i]]
  const rest = i % 2 === 0 ? { x: `exec-${i}`, m: { env: 'prod', long: 'x'.repeat(length) }, r: 1 } : {}
  return JSON.stringify({ t: newTraceId(START + i), k: `b${i}`, b: 1, ...rest, s, n: [1, 1], e: ['s', 5, i] })
}

/** Parts of one frame, none at its beginning. */
function partsOf(texts: readonly string[]): RunPart[] {
  const table = new PartTable(Buffer.from(`[${texts.join(',')}]`))
  let at = 1
  return texts.map(() => {
    const part = table.read(at) as RunPart
    at = part.end + 1
    return part
  })
}

/** Everything that a part says of itself, but where it is. */
function sayingsOf(part: RunPart): unknown {
  const { bytes, startedAtMs, completedAtMs, firstStep, stepCount, started, completed } = part
  const texts = [
    [part.idFrom, part.idFrom + 36],
    [part.skillFrom, part.skillTo],
    [part.executionIdFrom, part.executionIdTo],
    [part.metadataFrom, part.metadataTo],
    [part.stepsFrom, part.stepsTo],
  ].map(([from, to]) => bytes.toString('utf8', from, to))
  const { b, t, k, x, e, isWhole, text, textBehindId } = part
  const numbers = { startedAtMs, completedAtMs, firstStep, stepCount, started, completed }
  return { texts, numbers, b, t, k, x, e, isWhole, text, textBehindId }
}

test.each([
  ['usual ones', 20, 0],
  ['more than there was room for', 1_200, 0],
  ['longer ones than there was room for', 40, 60_000],
])('copies say what the parts say, and go on saying it without their frame: %s', (_, count, length) => {
  const texts = Array.from({ length: count }, (_, i) => textOf(i, length))
  const parts = partsOf(texts)
  const said = parts.map(sayingsOf)
  const copies = new PartCopies()
  for (const part of parts) copies.add(part)
  expect(copies.length).toBe(count)
  const alone = parts.map((part) => part.alone())
  for (const part of parts) part.bytes.fill(0)
  expect(parts.map((_, i) => sayingsOf(copies.at(i)))).toEqual(said)
  expect(alone.map(sayingsOf)).toEqual(said)
  copies.free()
})

test('what is free is used again, and who still asks is told nothing of those that follow', () => {
  const first = new PartCopies()
  first.add(partsOf([textOf(1)])[0] as RunPart)
  const { bytes } = first
  const late = first.at(0)
  first.free()
  first.free()
  const [second, third] = [new PartCopies(), new PartCopies()]
  expect(second.bytes).toBe(bytes)
  expect(third.bytes).not.toBe(bytes)
  second.add(partsOf([textOf(2)])[0] as RunPart)
  expect(late.text).toBe('')
  expect(late.startedAtMs).toBeUndefined()
  expect(second.at(0).k).toBe('b2')
})

test('of the same start they have the order of their ids as texts, whichever letter is another', () => {
  const begin = newTraceId(START).slice(0, 15)
  const rests = ['000-0000-000000000000', 'fff-ffff-ffffffffffff'] as const
  const ids = Array.from({ length: 22 }, (_, i) => `${begin}${rests[1].slice(0, i)}${rests[0].slice(i)}`)
  const parts = partsOf(ids.map((t) => JSON.stringify({ t, ...NO_STEPS })))
  const copies = new PartCopies()
  for (const part of parts) copies.add(part)
  const order = (a: string, b: string): number => (a < b ? -1 : Number(a > b))
  for (const part of parts)
    for (const [i, id] of ids.entries())
      expect(Math.sign(compareIds(part, copies.at(i)))).toBe(order(part.t, id))
})
