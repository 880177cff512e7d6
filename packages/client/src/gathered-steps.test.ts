import { JsonBytes } from '@stepwell/protocol'
import fc from 'fast-check'
import { expect, test } from 'vitest'
import { GatheredSteps } from './gathered-steps.ts'
import { ExecutionTracer } from './index.ts'
import type { Stretch } from './stretch.ts'
import { memorySink } from './testing.ts'

/** Steps of a trace; what was made of them. */
function gatheredSteps(): { gathered: GatheredSteps; stretches: Stretch[]; add(text: string): void } {
  const stretches: Stretch[] = []
  const gathered = new GatheredSteps({ remember: (stretch) => stretches.push(stretch) })
  const add = (text: string): void => {
    const out = gathered.begin()
    out.json(text)
    expect(gathered.lengthOf(out)).toBe(Buffer.byteLength(text))
    gathered.keep(out)
  }
  return { gathered, stretches, add }
}

test('what is taken is what was added, in its order, however it gathered and however little fits', () => {
  const additions = fc.array(fc.record({ length: fc.nat(9_000), gathers: fc.boolean() }), { minLength: 1 })
  fc.assert(
    fc.property(additions, fc.integer({ min: 1, max: 20_000 }), (added, maxLength) => {
      const { gathered, stretches, add } = gatheredSteps()
      for (const [i, { length, gathers }] of added.entries()) {
        add(`[${i},"${'x'.repeat(length)}"]`)
        if (gathers || gathered.isLong) gathered.gather()
      }
      gathered.gather()
      const taken: [id: number, name: string][] = []
      for (let rest = true; rest; ) {
        const out = new JsonBytes()
        const part = gathered.take(out, maxLength)
        const steps = JSON.parse(`[${out.text()}]`)
        // One stretch at least: it may be longer.
        expect(out.length <= maxLength || out.length <= 4_096 + 9_020).toBe(true)
        expect(steps.length).toBe(part.steps)
        taken.push(...steps)
        rest = part.rest
      }
      expect(taken.map(([id, name]) => [id, name.length])).toEqual(added.map(({ length }, i) => [i, length]))
      expect(gathered.isEmpty).toBe(true)
      // Whoever remembers one keeps none of the others.
      expect(stretches.every(({ next }) => next === undefined)).toBe(true)
      expect(gathered.take(new JsonBytes(), maxLength)).toEqual({ steps: 0, rest: false })
    }),
  )
})

test('a text is long after a few thousand letters, and no longer when it was gathered', () => {
  const { gathered, stretches, add } = gatheredSteps()
  for (let i = 0; i < 100 && !gathered.isLong; i++) add(`[${i},"${'x'.repeat(100)}"]`)
  expect(gathered.isLong).toBe(true)
  gathered.gather()
  expect(stretches).toHaveLength(1)
  expect(stretches[0]?.steps).toBeLessThan(100)
  expect(gathered.isLong).toBe(false)
  gathered.gather()
  expect(stretches).toHaveLength(1)
})

test('steps of several traces stay apart, whoever begins one while another is being written, gathers it, or takes it back', () => {
  const text = fc.string({ unit: fc.constantFrom('x', 'é', '日', '😀'), maxLength: 3 })
  const action = fc.record({
    trace: fc.nat(2),
    text,
    /** Traces that write a step, gather or are taken from meanwhile. */
    meanwhile: fc.array(
      fc.record({ trace: fc.nat(2), text, what: fc.constantFrom('add', 'gather', 'take') }),
      {
        maxLength: 3,
      },
    ),
    end: fc.constantFrom('keep', 'keep', 'undo', 'gather'),
  })
  fc.assert(
    fc.property(fc.array(action, { maxLength: 12 }), (actions) => {
      const traces = Array.from({ length: 3 }, gatheredSteps)
      const added: string[][] = traces.map(() => [])
      const taken: string[][] = traces.map(() => [])
      const of = (i: number): ReturnType<typeof gatheredSteps> =>
        traces[i] as ReturnType<typeof gatheredSteps>
      const take = (i: number): void => {
        of(i).gathered.gather()
        const out = new JsonBytes()
        const { steps } = of(i).gathered.take(out, 100_000)
        const parsed = JSON.parse(`[${out.text()}]`) as [string][]
        expect(parsed.length).toBe(steps)
        taken[i]?.push(...parsed.map(([one]) => one))
      }
      for (const { trace, text, meanwhile, end } of actions) {
        const { gathered } = of(trace)
        const out = gathered.begin()
        out.json('["')
        for (const other of meanwhile) {
          if (other.what === 'add') {
            of(other.trace).add(JSON.stringify([other.text]))
            added[other.trace]?.push(other.text)
          } else if (other.what === 'gather') of(other.trace).gathered.gather()
          else take(other.trace)
        }
        out.json(`${text}"]`)
        expect(gathered.lengthOf(out)).toBe(Buffer.byteLength(JSON.stringify([text])))
        if (end === 'undo') expect(gathered.undo(out).text).toBe(JSON.stringify([text]))
        else {
          gathered.keep(out)
          added[trace]?.push(text)
          if (end === 'gather') gathered.gather()
        }
      }
      for (const [i, texts] of added.entries()) {
        take(i)
        expect([...(taken[i] as string[])].sort()).toEqual([...texts].sort())
      }
    }),
    { numRuns: 2_000 },
  )
})

test('what waits stays as it is, and what is remembered after it was taken, whatever is recorded and taken meanwhile', () => {
  const turns = fc.record({
    trace: fc.nat(3),
    text: fc.string({ unit: fc.constantFrom('x', 'é', '日'), maxLength: 20 }),
    /** How often the text stands in the step: up to more than there is room for in a piece of memory. */
    times: fc.constantFrom(1, 10, 300, 2_000, 4_000),
    steps: fc.integer({ min: 1, max: 12 }),
    takes: fc.nat(5),
    remembers: fc.boolean(),
  })
  fc.assert(
    fc.property(fc.array(turns, { maxLength: 60 }), (all) => {
      const traces = Array.from({ length: 4 }, gatheredSteps)
      const waiting: string[][] = traces.map(() => [])
      const remembered: { stretch: Stretch; text: string }[] = []
      const check = (i: number): void => {
        const { gathered } = traces[i] as ReturnType<typeof gatheredSteps>
        gathered.gather()
        const out = new JsonBytes()
        while (gathered.take(out, 50_000).rest) out.json(',')
        expect(out.text()).toBe((waiting[i] as string[]).join(','))
        waiting[i] = []
      }
      for (const { trace, text, times, steps, takes, remembers } of all) {
        const { gathered, stretches, add } = traces[trace] as ReturnType<typeof gatheredSteps>
        for (let k = 0; k < steps; k++) {
          const step = JSON.stringify([k, text.repeat(times)])
          add(step)
          waiting[trace]?.push(step)
        }
        gathered.gather()
        const stretch = stretches.at(-1) as Stretch
        stretch.isRemembered = remembers
        if (remembers) remembered.push({ stretch, text: stretch.text })
        if (takes < traces.length) check(takes)
      }
      for (let i = 0; i < traces.length; i++) check(i)
      for (const { stretch, text } of remembered) expect(stretch.text).toBe(text)
    }),
    { numRuns: 200 },
  )
})

test('after steps for which the stack had no room others are written where they always are', async () => {
  const sink = memorySink()
  const tracer = new ExecutionTracer({ sink })
  let refused = 0
  tracer.trace('recursive', (trace) => {
    const recurse = (i: number): void => {
      try {
        recurse(i)
      } catch {}
      try {
        trace.recordStep('deep', i)
      } catch {
        refused += 1
      }
    }
    for (let i = 0; i < 3; i++) {
      recurse(i)
      const { gathered } = gatheredSteps()
      const pages = [0, 1].map(() => {
        const out = gathered.begin()
        gathered.undo(out)
        return out
      })
      expect(pages[0]).toBe(pages[1])
    }
    trace.recordStep('last', 1)
  })
  expect(await tracer.flush()).toBe(true)
  expect(refused).toBeGreaterThan(0)
  const steps = sink.frames.flatMap(({ deltas }) => JSON.parse(deltas)).flatMap(({ s = [] }) => s)
  expect(new Set(steps.map(([id]) => id)).size).toBe(steps.length)
  expect(steps.at(-1)[1]).toBe('last')
  await tracer.close()
})

test('what could not be taken is taken the next time', () => {
  const { gathered, add } = gatheredSteps()
  for (const name of ['lost', 'b', 'c']) {
    add(JSON.stringify([name]))
    gathered.gather()
  }
  const full = new JsonBytes()
  full.byte = () => {
    throw new RangeError('Maximum call stack size exceeded')
  }
  expect(() => gathered.take(full, 100)).toThrow(RangeError)
  const out = new JsonBytes()
  expect(gathered.take(out, 100)).toEqual({ steps: 2, rest: false })
  expect(out.text()).toBe('["b"],["c"]')
})
