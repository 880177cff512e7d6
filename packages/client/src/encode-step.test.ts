import { JsonBytes } from '@stepwell/protocol'
import fc from 'fast-check'
import { expect, test } from 'vitest'
import { roundMs, stepText, writeMs } from './encode-step.ts'

test('milliseconds are written as JSON writes them, to the microsecond', () => {
  const edges = [0, -0, 0.0004, 0.0005, 0.9994, 0.9996, 0.1, 0.12, 1, 999.9995, 2_147_482.647, 2_147_482.648]
  const ms = fc.oneof(
    fc.constantFrom(...edges, ...edges.map((edge) => -edge), 2 ** 31, 9e12),
    fc.double({ min: -10, max: 10_000, noNaN: true }),
    fc.double({ min: 0, max: 9e12, noNaN: true }),
    fc.nat(3_000_000_000).map((micros) => micros / 1000),
  )
  fc.assert(
    fc.property(ms, (value) => {
      const out = new JsonBytes()
      writeMs(out, value)
      expect(out.text()).toBe(JSON.stringify(roundMs(value)))
    }),
    { numRuns: 2_000 },
  )
})

/** What stands at the end of a tuple and may be left out: docs/PROTOCOL.md. The start is always written. */
const DEFAULTS = ['no id', 'no name', 'no start', null, 0, null, null, null]

test('a step reads as its tuple, whatever of it is there; defaults at its end are left out', () => {
  const id = fc.constantFrom<number | string>(1, 70, 'p.3', 'a"b')
  const optional = <T>(arbitrary: fc.Arbitrary<T>): fc.Arbitrary<T | undefined> =>
    fc.option(arbitrary, { nil: undefined })
  const time = fc.option(fc.nat(5_000_000).map((micros) => micros / 1000))
  fc.assert(
    fc.property(
      fc.record({
        id,
        name: fc.constantFrom('step', 'say "hi"', 'é', '日本'),
        parentId: optional(id),
        attributes: optional(fc.constantFrom('{"a":1}', '{"text":"x,y]"}')),
      }),
      time,
      time,
      fc.constantFrom(0, 1, 2),
      optional(fc.constantFrom('boom', '', 'a "b"\n')),
      (step, startMs, durationMs, status, message) => {
        const whole = [
          step.id,
          step.name,
          startMs,
          durationMs,
          status,
          message ?? null,
          step.parentId ?? null,
          step.attributes === undefined ? null : JSON.parse(step.attributes),
        ]
        const tuple = JSON.parse(stepText(step, startMs, durationMs, status, message)) as unknown[]
        expect(tuple).toEqual(whole.slice(0, tuple.length))
        expect(whole.slice(tuple.length)).toEqual(DEFAULTS.slice(tuple.length))
        expect(tuple.length === 3 || tuple.at(-1) !== DEFAULTS[tuple.length - 1]).toBe(true)
      },
    ),
    { numRuns: 2_000 },
  )
})
