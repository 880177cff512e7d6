// docs/BENCHMARKS.md says what the committed figures give, and the check is held against figures that a check measures.
import { expect, it } from 'vitest'
import { checkedFigures, compareWithCommitted } from '../bench/check.ts'
import { renderDocument } from '../bench/document.ts'
import { readFigures } from '../bench/figures-file.ts'
import { textOf } from './source-tree.ts'

const file = readFigures()

it('is the document that the committed figures make', () => {
  expect(textOf('docs/BENCHMARKS.md')).toBe(renderDocument(file))
})

it('checks what is committed, and finds it no worse than itself', () => {
  expect(file.check.length).toBeGreaterThan(0)
  expect(checkedFigures(file.check)).toEqual(file.check)
  expect(compareWithCommitted(file.check, file.check).worse).toBe(0)
})

it('fails for a ratio that is worse in its own direction, and for one that is missing', () => {
  const [first] = file.check
  if (first === undefined) throw new Error('nothing is committed')
  for (const factor of [0.1, 10]) {
    const changed = file.check.map((figure) => ({ ...figure, value: figure.value * factor }))
    // Some are worse when they are more, the others when they are less.
    const { worse } = compareWithCommitted(changed, file.check)
    expect(worse).toBeGreaterThan(0)
    expect(worse).toBeLessThan(file.check.length)
  }
  expect(compareWithCommitted(file.check.slice(1), file.check).worse).toBe(1)
})
