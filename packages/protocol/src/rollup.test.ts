import fc from 'fast-check'
import { expect, it } from 'vitest'
import { ByteReader, ByteWriter } from './bytes.ts'
import type { StepTuple } from './delta.ts'
import { type CountedTrace, OTHER_STEPS, Rollup, STEP_NAMES_MAX } from './rollup.ts'
import { RunRollup } from './run-rollup.ts'
import { addOverview, addTotal, encodeOverview, encodeTotal } from './skill-overview.ts'
import { STEP_STATUSES, TRACE_STATUSES } from './trace.ts'

const ms = fc.integer({ min: 0, max: 1e7 }).map((us) => us / 1_000)
const step = fc
  .tuple(fc.constantFrom('load', 'build', 'ß'), fc.option(ms), fc.option(fc.integer({ min: 0, max: 2 })))
  .map(([name, duration, status]) => [1, name, 0, duration, status] as StepTuple)
type TestedTrace = Omit<CountedTrace, 'steps'> & { steps: StepTuple[] }
const trace: fc.Arbitrary<TestedTrace> = fc.record({
  status: fc.constantFrom(...TRACE_STATUSES),
  durationMs: fc.option(ms),
  steps: fc.array(step, { maxLength: 6 }),
})
const traces = fc.array(trace, { maxLength: 20 })

const rollupOf = (list: readonly TestedTrace[]): Rollup => {
  const rollup = new Rollup()
  for (const one of list) rollup.add({ ...one, steps: JSON.stringify(one.steps) })
  return rollup
}
const formOf = (rollup: Rollup) => {
  const writer = new ByteWriter()
  rollup.runs.encode(writer)
  return { runs: writer.bytes(), steps: rollup.encodeSteps() }
}

it('counts what is there', () => {
  fc.assert(
    fc.property(traces, (list) => {
      const rollup = rollupOf(list)
      for (const status of TRACE_STATUSES)
        expect(rollup.runs.counts[status]).toBe(list.filter((one) => one.status === status).length)
      const all = list.flatMap((one) => one.steps)
      expect([...rollup.steps.keys()].sort()).toEqual([...new Set(all.map(([, name]) => name))].sort())
      for (const [name, { runs, traces, failedTraces }] of rollup.steps) {
        const { counts, sumUs } = runs
        const own = all.filter((one) => one[1] === name)
        const done = own.filter((one) => one[3] !== null)
        expect(counts.running).toBe(own.length - done.length)
        STEP_STATUSES.forEach((status, i) => {
          expect(counts[status]).toBe(done.filter((one) => (one[4] ?? 0) === i).length)
        })
        expect(sumUs).toBe(done.reduce((sum, one) => sum + Math.round((one[3] as number) * 1_000), 0))
        const having = list.filter((one) => one.steps.some((s) => s[1] === name))
        expect(traces).toBe(having.length)
        const blamed = having.filter(
          ({ status, steps }) =>
            (status === 'failed' || status === 'timeout') &&
            steps.some((s) => s[1] === name && (s[3] === null || (s[4] ?? 0) > 0)),
        )
        expect(failedTraces).toBe(blamed.length)
      }
    }),
  )
})

it('merges parts into that of the whole, by value and by bytes, in whatever order', () => {
  fc.assert(
    fc.property(traces, traces, (a, b) => {
      const whole = formOf(rollupOf([...a, ...b]))
      for (const [first, second] of [
        [a, b],
        [b, a],
      ] as const) {
        const merged = rollupOf(first)
        merged.merge(rollupOf(second))
        expect(formOf(merged)).toEqual(whole)
        const read = rollupOf(first)
        read.addEncodedSteps(rollupOf(second).encodeSteps())
        expect(read.encodeSteps()).toEqual(whole.steps)
      }
    }),
  )
})

it('tells a thousand names of steps apart, and counts the others together', () => {
  const steps = Array.from({ length: STEP_NAMES_MAX + 5 }, (_, i): StepTuple => [i + 1, `step-${i}`, 0, 1])
  const rollup = rollupOf([{ status: 'success', durationMs: 1, steps }])
  rollup.merge(rollupOf([{ status: 'success', durationMs: 1, steps: steps.toReversed() }]))
  expect(rollup.steps.size).toBe(STEP_NAMES_MAX + 1)
  expect([...rollup.steps.values()].reduce((sum, { runs }) => sum + runs.count, 0)).toBe(2 * steps.length)
  expect(rollup.steps.get(OTHER_STEPS)?.runs.count).toBeGreaterThanOrEqual(5)
})

const bytesOf = (runs: RunRollup | undefined): Uint8Array => {
  const bytes = new ByteWriter()
  runs?.encode(bytes)
  return bytes.bytes()
}

it('keeps what skills came to apart in an overview, and passes over those that are not wanted', () => {
  fc.assert(
    fc.property(fc.dictionary(fc.string(), traces), fc.string(), (bySkill, unwanted) => {
      const rollups = new Map(Object.entries(bySkill).map(([skill, list]) => [skill, rollupOf(list).runs]))
      const read = new Map<string, RunRollup>()
      const ofSkill = (skill: string): RunRollup | undefined => {
        const runs = new RunRollup()
        read.set(skill, runs)
        return skill === unwanted ? undefined : runs
      }
      const all = new RunRollup()
      addOverview(encodeOverview(rollups), ofSkill)
      const alone = [...read.values()].map(bytesOf)
      addOverview(encodeOverview(rollups), ofSkill, all)
      expect([...read.values()].map(bytesOf)).toEqual(alone)
      expect([...read.keys()]).toEqual([...rollups.keys()])
      if (read.has(unwanted)) rollups.set(unwanted, new RunRollup())
      for (const [skill, runs] of rollups) expect(bytesOf(read.get(skill))).toEqual(bytesOf(runs))
      const sum = new RunRollup()
      for (const runs of rollups.values()) sum.merge(runs)
      expect(bytesOf(all)).toEqual(bytesOf(sum))
      addTotal(encodeTotal(rollups), all)
      sum.merge(sum)
      expect(bytesOf(all)).toEqual(bytesOf(sum))
    }),
  )
})

it('reads an overview as versions before have it', () => {
  fc.assert(
    fc.property(fc.dictionary(fc.string(), traces), (bySkill) => {
      const writer = new ByteWriter()
      const rollups = Object.entries(bySkill).map(([skill, list]) => [skill, rollupOf(list).runs] as const)
      for (const [skill, runs] of rollups) {
        writer.text(skill)
        writer.block(bytesOf(runs))
      }
      const read = new Map<string, RunRollup>()
      addOverview(writer.bytes(), (skill) => {
        read.set(skill, new RunRollup())
        return read.get(skill)
      })
      expect([...read].map(([skill, runs]) => [skill, bytesOf(runs)])).toEqual(
        rollups.map(([skill, runs]) => [skill, bytesOf(runs)]),
      )
    }),
  )
})

it('reads texts as they were written, whichever were read before', () => {
  fc.assert(
    fc.property(
      fc.array(
        fc.oneof(fc.string(), fc.string({ unit: 'binary', maxLength: 80 }), fc.constant('\ufeffmark')),
      ),
      (texts) => {
        const writer = new ByteWriter()
        for (const text of texts) writer.text(text.toWellFormed())
        const reader = new ByteReader(writer.bytes())
        expect(texts.map(() => reader.text())).toEqual(texts.map((text) => text.toWellFormed()))
      },
    ),
    { numRuns: 1_000 },
  )
})
