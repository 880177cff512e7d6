import fc from 'fast-check'
import { expect, test } from 'vitest'
import { type OpenStep, OpenSteps } from './open-steps.ts'

const NAMES = ['a', 'b', 'c']

function openStep(id: number, name: string): OpenStep {
  const links = { before: undefined, after: undefined, beforeOfName: undefined, afterOfName: undefined }
  const recorded = { id, name, startedAtMs: id, parentId: undefined, attributes: undefined }
  return { ...recorded, startedPerfMs: id, end: undefined, asEnded: undefined, isListed: false, ...links }
}

type Call = ['start', string] | ['end', number] | ['endByName', string] | ['tell']

const call: fc.Arbitrary<Call> = fc.oneof(
  fc.tuple(fc.constant('start' as const), fc.constantFrom(...NAMES)),
  fc.tuple(fc.constant('end' as const), fc.nat(20)),
  fc.tuple(fc.constant('endByName' as const), fc.constantFrom(...NAMES)),
  fc.constant(['tell'] as ['tell']),
)

test('whatever is started, ended and told: the same as a plain array says', () => {
  fc.assert(
    fc.property(fc.array(call, { maxLength: 60 }), (calls) => {
      const steps = new OpenSteps()
      const started: OpenStep[] = []
      let open: OpenStep[] = []
      const told = new Set<OpenStep>()
      const end = (step: OpenStep | undefined): void => {
        if (step !== undefined) steps.delete(step)
        open = open.filter((other) => other !== step)
      }
      for (const [what, which] of calls) {
        if (what === 'start') {
          const step = openStep(started.length + 1, which)
          steps.add(step)
          started.push(step)
          open.push(step)
        } else if (what === 'end') end(started[which])
        else if (what === 'endByName') end(steps.lastOf(which))
        else if (steps.firstUntold !== undefined) {
          told.add(steps.firstUntold)
          steps.tellFirst()
        }
        expect([...steps].map(({ id }) => id)).toEqual(open.map(({ id }) => id))
        expect(steps.size).toBe(open.length)
        expect(steps.firstUntold?.id).toBe(open.find((step) => !told.has(step))?.id)
      }
      for (const name of NAMES)
        expect(steps.lastOf(name)?.id).toBe(open.findLast((step) => step.name === name)?.id)
    }),
    { numRuns: 500, seed: 20_261_124 },
  )
})

test('of more than 10,000 the oldest is let go', () => {
  const steps = new OpenSteps()
  for (let id = 1; id <= 10_001; id++) steps.add(openStep(id, 'same'))
  expect(steps.size).toBe(10_000)
  expect(steps.firstUntold?.id).toBe(2)
  expect(steps.lastOf('same')?.id).toBe(10_001)
})

test('the handle of a step that has ended holds no other', () => {
  const steps = new OpenSteps()
  const [first, second, third] = [1, 2, 3].map((id) => openStep(id, 'same')) as [OpenStep, OpenStep, OpenStep]
  for (const step of [first, second, third]) steps.add(step)
  steps.lastOf('same')
  steps.delete(second)
  expect([second.before, second.after, second.beforeOfName, second.afterOfName]).toEqual(
    Array(4).fill(undefined),
  )
  expect(steps.lastOf('same')).toBe(third)
})
