import fc from 'fast-check'
import { expect, test } from 'vitest'
import { GatheredSteps, type Stretch } from './gathered-steps.ts'

/** Steps of a trace; what was made of them. */
function gatheredSteps(): { gathered: GatheredSteps; stretches: Stretch[]; add(text: string): void } {
  const stretches: Stretch[] = []
  const gathered = new GatheredSteps({ remember: (stretch) => stretches.push(stretch) })
  const add = (text: string): void => {
    const out = gathered.begin()
    out.json(text)
    expect(gathered.lengthOf(out)).toBe(text.length)
    gathered.keep(out)
  }
  return { gathered, stretches, add }
}

test('what is taken is what was added, in its order, however it gathered and however little fits', () => {
  const additions = fc.array(fc.record({ length: fc.nat(9_000), gathers: fc.boolean() }), { minLength: 1 })
  fc.assert(
    fc.property(additions, fc.integer({ min: 1, max: 20_000 }), (added, maxLength) => {
      const { gathered, add } = gatheredSteps()
      for (const [i, { length, gathers }] of added.entries()) {
        add(`[${i},"${'x'.repeat(length)}"]`)
        if (gathers || gathered.isLong) gathered.gather()
      }
      gathered.gather()
      const taken: [id: number, name: string][] = []
      for (let rest = true; rest; ) {
        const part = gathered.take(maxLength)
        expect(part.length <= maxLength || part.texts.length === 1).toBe(true)
        const steps = JSON.parse(`[${part.texts.join(',')}]`)
        expect(steps.length).toBe(part.steps)
        taken.push(...steps)
        rest = part.rest
      }
      expect(taken.map(([id, name]) => [id, name.length])).toEqual(added.map(({ length }, i) => [i, length]))
      expect(gathered.take(maxLength)).toEqual({ texts: [], steps: 0, length: 0, rest: false })
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
        const { texts, steps } = of(i).gathered.take(100_000)
        const parsed = JSON.parse(`[${texts.join(',')}]`) as [string][]
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
        expect(gathered.textOf(out)).toBe(JSON.stringify([text]))
        if (end === 'undo') gathered.undo(out)
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
