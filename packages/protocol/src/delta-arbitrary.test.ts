import fc from 'fast-check'
import { expect, test } from 'vitest'
import type { Delta, Said, StepTuple } from './delta.ts'
import { deltaSchema } from './schema.ts'
import type { JsonObject, StepId } from './trace.ts'

// What the property tests of this package draw from. Values come from small sets, so that ids, revisions, ends and
// starts collide all the time; names that are special to JavaScript objects are among them.

/** The producers of a trace; '' is the owner. */
export const PRODUCERS = ['', 'a', 'B-_9', '__proto__', 'constructor'] as const

const OURS = '019ac678-d900-7000-8000-000000000001'
const FOREIGN = '0fee1bad-0000-4000-8000-00000000cafe'

const text = fc.constantFrom('', 'a', 'b', 'é😀', '…', '__proto__', '"\\')
const name = fc.constantFrom('a', 'b', 'Z', 'é😀', 'toString', '\u{10000}', '\uffff')
const span = fc.constantFrom(null, 0, -0, 0.1, 12.5, -3.75, 1e13, -1e13, 7)
const duration = fc.constantFrom(null, 0, 0.001, 12.5, 840, 1e13)

/** JSON values as they come from JSON.parse. */
export const json: fc.Arbitrary<unknown> = fc.oneof(
  fc.constantFrom(null, true, 0, -0, 1e21, 5e-324, 0.1, '', 'x', [], {}),
  fc.jsonValue({ maxDepth: 2 }),
)
export const jsonObject: fc.Arbitrary<JsonObject> = fc
  .array(fc.tuple(fc.constantFrom('a', 'b', '2', '10', '__proto__', 'é'), json), { maxLength: 3 })
  .map((entries) => JSON.parse(JSON.stringify(Object.fromEntries(entries))))

const stepId: fc.Arbitrary<StepId> = fc.oneof(
  fc.integer({ min: 1, max: 6 }),
  fc.constantFrom<StepId>('load', '1a', '__proto__', Number.MAX_SAFE_INTEGER),
  fc
    .tuple(fc.constantFrom(...PRODUCERS.slice(1)), fc.constantFrom(1, 2, 10, 999_999_999_999_999))
    .map(([producer, n]) => `${producer}.${n}`),
)

const step: fc.Arbitrary<StepTuple> = fc
  .tuple(
    fc.tuple(
      stepId,
      name,
      span,
      duration,
      fc.constantFrom(0, 1, 2),
      fc.option(text),
      fc.option(stepId),
      fc.option(jsonObject),
      fc.constantFrom(0, 0, 1, 2),
    ),
    // How much is sent: what is at the end may be left out.
    fc.integer({ min: 2, max: 9 }),
  )
  .map(([tuple, length]) => tuple.slice(0, length) as unknown as StepTuple)

const end: fc.Arbitrary<NonNullable<Delta['e']>> = fc
  .tuple(fc.constantFrom('s', 'f', 't'), span, duration, fc.option(text), fc.boolean())
  .map(
    ([status, offset, took, message, long]) =>
      (long ? [status, offset, took, message] : [status, offset, took]) as never,
  )

function deltaOf(traceId: string): fc.Arbitrary<Delta> {
  return fc
    .record(
      {
        t: fc.constant(traceId),
        b: fc.constant(1 as const),
        k: fc.constantFrom('build', 'deploy', 'déjà', '\uffff', '\u{10000}'),
        x: fc.constantFrom('exec-1', 'exec-2'),
        m: jsonObject,
        r: fc.constantFrom(0, 1, 2, 3),
        u: fc.tuple(
          fc.constantFrom(OURS, FOREIGN),
          fc.option(stepId),
          fc.option(fc.constantFrom(OURS, FOREIGN)),
        ) as never,
        l: fc.constantFrom(0, 10.5, 60_000),
        s: fc.array(step, { maxLength: 6 }),
        n: fc.tuple(fc.nat(6), fc.nat(6)) as fc.Arbitrary<[number, number]>,
        e: end,
      },
      { requiredKeys: ['t', 'n'] },
    )
    .map((delta) => {
      if (delta.b !== undefined && delta.k === undefined) delete delta.b
      // All deltas of a trace tell the same start, a foreign one's more finely than the table can hold.
      return { ...delta, ...(traceId === FOREIGN ? { at: 1_764_266_400_000.75 } : {}) } as Delta
    })
}

const said = (traceId: string): fc.Arbitrary<Said> =>
  fc.record({ producer: fc.constantFrom(...PRODUCERS), delta: deltaOf(traceId) })

/** Deltas of one trace, of ours or with a foreign id, from several producers. */
export const saidOfOneTrace: fc.Arbitrary<Said[]> = fc
  .constantFrom(OURS, FOREIGN)
  .chain((traceId) => fc.array(said(traceId), { minLength: 1, maxLength: 8 }))

test('what the property tests draw follows the schema', () => {
  fc.assert(
    fc.property(saidOfOneTrace, (all) => {
      for (const { delta } of all) {
        const parsed = deltaSchema.safeParse(JSON.parse(JSON.stringify(delta)))
        expect(parsed.error?.issues).toBeUndefined()
        expect(parsed.data).toEqual(JSON.parse(JSON.stringify(delta)))
      }
    }),
    { numRuns: 500 },
  )
})
