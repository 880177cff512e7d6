import fc from 'fast-check'
import { expect, it } from 'vitest'
import type { StepTuple } from './delta.ts'
import { StoredSteps } from './stored-steps.ts'

const NAMES = ['load', 'lo', 'load-2', 'ß', '', 'a"b', 'C:\\new', 'a","b', 'x]', '\u{1F600}', 'line\nbreak']
const text = fc.oneof(
  fc.constantFrom(...NAMES),
  fc.string({ unit: 'binary', maxLength: 12 }),
  fc.constantFrom('"', '\\', '\\"', '[{"', ']],[', '\\u005d'),
)
const number = fc.oneof(
  fc.integer({ min: -1e7, max: 1e13 }).map((us) => us / 1_000),
  fc.double({ noNaN: true, noDefaultInfinity: true }),
  fc.constantFrom(0, 1e-7, 1e21, 0.1 + 0.2, 2 ** 53 - 1, 123456789.123456, 999999999999999, 0.000001),
)
const or = <T>(value: fc.Arbitrary<T>) => fc.option(value, { freq: 4 })
const whole = fc.tuple(
  fc.oneof(fc.nat(), text),
  text,
  or(number),
  or(number),
  or(fc.constantFrom(0, 1, 2, 3, 9, 10, 12)),
  or(text),
  or(fc.oneof(fc.nat(), text)),
  or(fc.dictionary(text, fc.jsonValue())),
  fc.nat(),
)
const steps = fc.array(
  fc.tuple(whole, fc.integer({ min: 2, max: 9 })).map(([tuple, length]) => tuple.slice(0, length)),
  { maxLength: 6 },
)

const read = new StoredSteps()
function told(json: string, expected: readonly string[] = []) {
  read.read(
    json,
    expected.map((name) => ({ name })),
  )
  const { count, names, durations, statuses } = read
  return Array.from({ length: count }, (_, i) => [names[i], durations[i], statuses[i]])
}

it('tells what parsing tells, whatever the steps are and however they are written', () => {
  fc.assert(
    fc.property(
      steps,
      fc.array(text),
      fc.constantFrom('', ' ', '\t'),
      fc.boolean(),
      (list, expected, gap, isKnown) => {
        const json = JSON.stringify(list, null, gap)
        const tuples = JSON.parse(json) as StepTuple[]
        const names = isKnown ? tuples.map(([, name]) => name) : expected
        expect(told(json, names)).toEqual(
          tuples.map(([, name, , ms = null, status]) => [name, ms, status ?? 0]),
        )
      },
    ),
    { numRuns: 2_000 },
  )
})

it('takes no name for another that only stands there alike', () => {
  expect(told('[[1,"C:\\new",0,1]]', ['C:\\new'])).toEqual([['C:\new', 1, 0]])
  expect(told('[[1,"a","b",1]]', ['a","b'])).toEqual([['a', 1, 0]])
  expect(told('[[1,"load-2",0,1]]', ['load'])).toEqual([['load-2', 1, 0]])
})

it('takes no message for steps', () => {
  for (const message of ['"],[2,"evil",0,5', '\\"],[2,"evil",0,5', 'a\\', ']],[['])
    expect(told(JSON.stringify([[1, 'a', 0, 1, 1, message]]))).toEqual([['a', 1, 1]])
})

// What stands for the starts is no JSON: had it been parsed, it would have been refused.
it('parses nothing that is written as we write it', () => {
  expect(told('[]')).toEqual([])
  expect(
    told(
      '[[1,"load",-,12.5],["a.2","ß",-,null],[3,"act",-],[4,"end",-,3,1,"no \\"way\\" [","a.2",{"k":[1]}]]',
    ),
  ).toEqual([
    ['load', 12.5, 0],
    ['ß', null, 0],
    ['act', null, 0],
    ['end', 3, 1],
  ])
})

it('refuses what is no list of steps', () => {
  for (const json of ['', '[', '[[', '[[1,"a"', '[[1,"a"]', '[[1,"a"]]]', '[[1,"a",0,1,0,"', '{}'])
    expect(() => told(json)).toThrow()
})
