import fc from 'fast-check'
import { expect, it } from 'vitest'
import type { StepTuple } from './delta.ts'
import { Rollup } from './rollup.ts'
import { searchKeys, stepKeys, stepRanges } from './step-keys.ts'

const NAMES = ['load', 'act', 'undo', 'ß']
const BUCKET = 20_000 * 1_440
const DAY = 20_000

/** Runs of an hour: the minute, and the names of their steps. */
const runs = fc.array(
  fc.record({
    minute: fc.integer({ min: 0, max: 59 }),
    names: fc.array(fc.oneof({ weight: 20, arbitrary: fc.constant('load') }, fc.constantFrom(...NAMES)), {
      maxLength: 3,
    }),
  }),
  { maxLength: 100 },
)

it('finds each run that has a step of a name within the ranges of it, and of a rare one in its minutes alone', () => {
  fc.assert(
    fc.property(runs, (list) => {
      const rollup = new Rollup()
      for (const { minute, names } of list.toSorted((a, b) => a.minute - b.minute))
        rollup.add({
          status: 'success',
          durationMs: 1,
          steps: JSON.stringify(names.map((name, i) => [i + 1, name, 0, 1] as StepTuple)),
          part: BUCKET + minute,
        })
      const keys = stepKeys(rollup, 60, BUCKET)
      for (const name of NAMES) {
        const having = list.filter(({ names }) => names.includes(name))
        const minutes = [...new Set(having.map(({ minute }) => BUCKET + minute))].sort((a, b) => a - b)
        const isRare = having.length * 16 < list.length
        expect(stepRanges(keys, name, 60, BUCKET)).toEqual(
          having.length === 0
            ? []
            : isRare
              ? minutes.map((minute) => [minute, minute + 1])
              : [[BUCKET, BUCKET + 60]],
        )
        const wanted = searchKeys(name, 60, DAY)
        expect(keys.some((key) => wanted.includes(key))).toBe(having.length > 0)
      }
      expect(searchKeys('load', 60, DAY + 1).some((key) => keys.includes(key))).toBe(false)
      expect(searchKeys('load', 1_440, DAY).some((key) => keys.includes(key))).toBe(false)
    }),
  )
})

it('knows nothing of runs with more names than are told apart', () => {
  const steps = Array.from({ length: 1_001 }, (_, i) => [i + 1, `step-${i}`, 0, 1] as StepTuple)
  const rollup = new Rollup()
  rollup.add({ status: 'success', durationMs: 1, steps: JSON.stringify(steps), part: BUCKET })
  const keys = stepKeys(rollup, 60, BUCKET)
  for (const name of ['step-1', 'step-1000', 'nowhere']) {
    expect(searchKeys(name, 60, DAY).some((key) => keys.includes(key))).toBe(true)
    expect(stepRanges(keys, name, 60, BUCKET)).toEqual([[BUCKET, BUCKET + 60]])
  }
})
