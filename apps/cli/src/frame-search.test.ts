import { zstdCompressSync } from 'node:zlib'
import type { Delta, Json } from '@stepwell/protocol'
import fc from 'fast-check'
import { expect, test } from 'vitest'
import { mayTellOf } from './frame-search.ts'
import { EventReader } from './trace-events.ts'

const NOW = Date.UTC(2026, 5, 1)
const SKILLS = [
  'build',
  'team/build',
  'say "hi"',
  'two\nlines',
  'back\\slash',
  'é😀',
  '\u0001',
  '\uFFFD',
  '\0',
]
const IDS = [0, 1, 2, 3].map((i) => `019ac678-d900-7000-8000-00000000000${i}`)
const OTHER = '019ac678-d900-7000-8000-00000000000f'

/** Skills and ids also where they say nothing: as metadata, and inside of a text. */
const metadata = fc.record({
  k: fc.constantFrom(...SKILLS),
  t: fc.constantFrom(...IDS, `"t":"${OTHER}"`, `"k":"${SKILLS[0]}"`),
})
const delta: fc.Arbitrary<Delta> = fc
  .record({
    t: fc.constantFrom(...IDS),
    k: fc.option(fc.constantFrom(...SKILLS), { nil: undefined }),
    m: fc.option(metadata, { nil: undefined }),
    s: fc.constantFrom(undefined, [[1, 'load', 0.5, 2]] as Delta['s']),
    isOver: fc.boolean(),
  })
  .map(({ t, k, m, s, isOver }) => {
    const end = isOver ? { e: ['s', 5, 5] } : {}
    return JSON.parse(JSON.stringify({ t, k, m, s, n: [1, 1], ...end }))
  })

/** JSON text in some of the ways in which it can be written: `tape` says where there are escapes and white space. */
function textOf(value: Json, tape: () => number): string {
  const space = (): string => ['', '', ' ', '\n\t'][tape() % 4] as string
  const between = (items: string[]): string => items.map((item) => space() + item + space()).join(',')
  if (typeof value === 'string') return `"${Array.from(value, (letter) => letterOf(letter, tape)).join('')}"`
  if (typeof value !== 'object' || value === null) return JSON.stringify(value)
  if (Array.isArray(value)) return `[${between(value.map((item) => textOf(item, tape)))}]`
  const members = Object.entries(value).map(
    ([key, item]) => `${textOf(key, tape)}${space()}:${space()}${textOf(item, tape)}`,
  )
  return `{${between(members)}}`
}

function letterOf(letter: string, tape: () => number): string {
  const choice = tape()
  if (choice === 99)
    return letter
      .split('')
      .map((unit) => `\\u${unit.charCodeAt(0).toString(16).padStart(4, '0')}`)
      .join('')
  return letter === '/' && choice % 2 === 1 ? '\\/' : JSON.stringify(letter).slice(1, -1)
}

/** Fields of a frame, and their JSON text. */
const frame = fc
  .record({
    deltas: fc.array(delta, { minLength: 1, maxLength: 3 }),
    // Most by far without escapes, and half without white space.
    tape: fc.array(
      fc.oneof(
        { weight: 200, arbitrary: fc.constantFrom(0, 4, 5, 7) },
        { weight: 1, arbitrary: fc.constant(99) },
      ),
      { minLength: 1, maxLength: 60 },
    ),
    isPacked: fc.nat(9).map((n) => n === 0),
  })
  .map(({ deltas, tape, isPacked }) => {
    let at = 0
    const text = textOf(deltas as never, () => tape[at++ % tape.length] as number)
    const d = isPacked ? ['z', 'zstd', 'd', zstdCompressSync(text).toString('base64')] : ['d', text]
    return { text, fields: ['v', '1', 'p', 'abc', 'n', '1', 'c', String(deltas.length), ...d] }
  })

test('who follows one skill is told what parsing everything tells of it, however it is written', () => {
  let told = 0
  fc.assert(
    fc.property(
      fc.array(frame, { minLength: 1, maxLength: 8 }),
      fc.constantFrom(...SKILLS),
      (frames, skill) => {
        const [all, some] = [new EventReader(), new EventReader(skill)]
        for (const { fields } of frames) {
          const wanted = all.eventsOf(fields, NOW).filter((event) => event.skillName === skill)
          expect(some.eventsOf(fields, NOW)).toEqual(wanted)
          told += wanted.length
        }
      },
    ),
    { numRuns: 1_000 },
  )
  expect(told).toBeGreaterThan(250)
})

test('a frame that says nothing of a skill is passed over; one that might is not', () => {
  const none = new Map()
  const text = JSON.stringify([{ t: IDS[0], k: 'docker-build', x: 'C:\\new "one"', n: [0, 0] }])
  for (const skill of ['build', 'docker', 'team/build', 'C:', 'one'])
    expect(mayTellOf(text, skill, none)).toBe(false)
  expect(mayTellOf(text, 'docker-build', none)).toBe(true)
  expect(mayTellOf(text.replace('docker', '\\u0064ocker'), 'docker-build', none)).toBe(true)
  expect(mayTellOf(text, 'build', new Map([[OTHER, '']]))).toBe(false)
  expect(mayTellOf(text, 'build', new Map([[IDS[0] as string, '']]))).toBe(true)
})

test('traces of other skills take no room in what is remembered of one', () => {
  const reader = new EventReader('build')
  const told = (deltas: Json[]): number =>
    reader.eventsOf(['v', '1', 'p', 'a', 'n', '1', 'c', `${deltas.length}`, 'd', JSON.stringify(deltas)], NOW)
      .length
  const [owned] = IDS as [string]
  expect(told([{ t: owned, b: 1, k: 'build', n: [0, 0] }])).toBe(1)
  // Parsed, for the name stands in each frame.
  for (let from = 10_000; from < 22_000; from += 4_000) {
    const ids = Array.from({ length: 4_000 }, (_, i) => owned.slice(0, -5) + (from + i))
    expect(told(ids.map((t) => ({ t, b: 1, k: 'deploy', x: 'build', n: [0, 0] })))).toBe(0)
  }
  expect(told([{ t: owned, s: [['abc.1', 'load', 1, 2]], n: [1, 1] }])).toBe(1)
})
