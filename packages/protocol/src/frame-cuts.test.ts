import fc from 'fast-check'
import { expect, test } from 'vitest'
import type { Delta } from './delta.ts'
import { saidOfOneTrace } from './delta-arbitrary.test.ts'
import { encodeFrame } from './frame.ts'
import { DELTA_CUT, isCuttable } from './frame-cuts.ts'
import { readFrame } from './schema.ts'

/** Cuts as a worker's script in Redis does. */
function cut(text: string): string[] {
  const pieces: string[] = []
  for (let from = 1, at = 0; at >= 0; from = at + 2) {
    at = text.indexOf(DELTA_CUT, from)
    pieces.push(text.slice(from, at < 0 ? -1 : at + 1))
  }
  return pieces
}

test('what can be cut gives the deltas, whatever is in them', () => {
  const frames = fc.array(saidOfOneTrace, { minLength: 1, maxLength: 4 })
  let seen = 0
  fc.assert(
    fc.property(frames, (all) => {
      const text = JSON.stringify(all.flat().map(({ delta }) => delta))
      const deltas = JSON.parse(text) as Delta[]
      if (!isCuttable(text, deltas)) return
      seen += 1
      expect(cut(text).map((piece) => JSON.parse(piece))).toEqual(deltas)
    }),
  )
  expect(seen).toBeGreaterThan(50)
})

const ID = '019ac678-d900-7000-8000-000000000001'
const delta = (rest: object = {}): object => ({ t: ID, k: 'a', n: [0, 0], ...rest })
const isSo = (text: string): boolean => isCuttable(text, JSON.parse(text) as Delta[])

test.each([
  ['nothing in it', '[]', false],
  ['one delta', JSON.stringify([delta()]), true],
  ['several', JSON.stringify([delta(), delta(), delta()]), true],
  ['a text that looks like a cut', JSON.stringify([delta({ m: { a: `},{"t":"${ID}",` } }), delta()]), true],
  ['an object that looks like one', JSON.stringify([delta({ m: { a: [{}, { t: ID }] } }), delta()]), false],
  ['the same, alone', JSON.stringify([delta({ m: { a: [{}, { t: ID, b: 1 }] } })]), false],
  ['white space between', JSON.stringify([delta(), delta()], null, 1), false],
  ['line breaks inside', JSON.stringify([delta(), delta()]).replaceAll('"k"', '\n"k"'), false],
  ['white space around', ` ${JSON.stringify([delta()])}`, false],
  ['white space at the end', `${JSON.stringify([delta()])}\n`, false],
  ['the id elsewhere', `[{"k":"a","t":"${ID}","n":[0,0]}]`, false],
  ['the id elsewhere in the second', `[${JSON.stringify(delta())},{"k":"a","t":"${ID}","n":[0,0]}]`, false],
  ['the id alone', `[{"t":"${ID}"}]`, false],
  ['the id spelled otherwise', JSON.stringify([delta()]).replace('019a', '\\u0030\\u0031\\u0039a'), false],
])('%s', (_, text, expected) => {
  expect(isSo(text)).toBe(expected)
})

test('what looks like the next delta in the attributes of another is none', () => {
  const other = `${ID.slice(0, -1)}2`
  const saying = (inside: string, more = ''): string =>
    `{"t":"${ID}","k":"a",${more}"s":[[1,"a",0,1,0,null,null,{"a":["}\\"{",{},${inside}]}]],"n":[1,1]}`
  const next = `{"t":"${other}","n":[0,0]}`
  const isSoAsRead = (text: string): boolean => {
    const counters = { emitted: 0, acked: 0, dropped: {} }
    const frame = encodeFrame({ producer: 'p', number: 1, deltaCount: 2, counters, deltas: text })
    const read = readFrame(frame, Date.UTC(2026, 5, 1))
    if (!read.ok) throw new Error(read.reason)
    return isCuttable(text, read.deltas)
  }
  // A part is not parsed; what has a limit is.
  for (const more of ['', '"b":1,"l":5,']) {
    expect(isSoAsRead(`[${saying('[]', more)},${next}]`)).toBe(true)
    // Without a cut between the two, as others may write it.
    expect(isSoAsRead(`[${saying(next, more)}, ${next}]`)).toBe(false)
  }
})
