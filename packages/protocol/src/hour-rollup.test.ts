import fc from 'fast-check'
import { expect, it } from 'vitest'
import { ByteWriter } from './bytes.ts'
import { addParts, HourRollup, PART_MINUTES } from './hour-rollup.ts'
import { type CountedTrace, Rollup } from './rollup.ts'
import { stepKeys } from './step-keys.ts'
import { TRACE_STATUSES } from './trace.ts'

const HOUR = 29_700_000
const trace: fc.Arbitrary<CountedTrace & { part: number }> = fc.record({
  status: fc.constantFrom(...TRACE_STATUSES),
  durationMs: fc.option(fc.integer({ min: 0, max: 1e6 })),
  steps: fc.constantFrom('[]', '[[1,"load",0,5]]', '[[1,"load",0,7],[2,"act",1,null,2]]', '[[1,"rare",0,1]]'),
  part: fc.integer({ min: HOUR, max: HOUR + 59 }),
})
// Few and many, in some parts of the hour and in all.
const runs = fc
  .array(fc.tuple(trace, fc.constantFrom(1, 2, 60)), { maxLength: 20 })
  .map((list) => list.flatMap(([one, times]) => new Array<typeof one>(times).fill(one)))
  .map((list) => list.toSorted((a, b) => a.part - b.part))

function formOf(rollup: Rollup) {
  const writer = new ByteWriter()
  rollup.runs.encode(writer)
  return { runs: writer.bytes(), steps: rollup.encodeSteps() }
}
function rollupOf(list: readonly CountedTrace[]): Rollup {
  const rollup = new Rollup()
  for (const one of list) rollup.add(one)
  return rollup
}

it('is the rollup of the hour, and of its parts where there are many in the first', () => {
  fc.assert(
    fc.property(runs, (list) => {
      const hour = new HourRollup(HOUR)
      for (const one of list) hour.at(one.part).add(one)
      const [whole, wanted] = [hour.whole(), rollupOf(list)]
      expect(formOf(whole)).toEqual(formOf(wanted))
      expect(stepKeys(whole, 60, HOUR)).toEqual(stepKeys(wanted, 60, HOUR))
      const byPart = Map.groupBy(list, ({ part }) => Math.floor((part - HOUR) / PART_MINUTES))
      const [first = []] = byPart.values()
      const parts = hour.encodeParts()
      expect(parts !== null).toBe(first.length >= 50 && byPart.size > 1)
      if (parts === null) return
      const read = new Map<number, Rollup>()
      addParts(parts, (index) => {
        read.set(index, new Rollup())
        return index === 1 ? undefined : read.get(index)
      })
      expect([...read.keys()]).toEqual([...byPart.keys()])
      for (const [index, rollup] of read)
        expect(formOf(rollup)).toEqual(formOf(rollupOf(index === 1 ? [] : (byPart.get(index) ?? []))))
    }),
  )
})
