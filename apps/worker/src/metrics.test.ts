import { readFileSync } from 'node:fs'
import { expect, test } from 'vitest'
import { createMetrics } from './metrics.ts'

test('the table in docs/OPERATIONS.md has every metric, and no other', () => {
  const page = readFileSync(new URL('../../../docs/OPERATIONS.md', import.meta.url), 'utf8')
  const ours = createMetrics()
    .registry.getMetricsAsArray()
    .map(({ name }) => name)
    .filter((name) => name.startsWith('stepwell_'))
  const listed = [...page.matchAll(/^\| `(stepwell_\w+)` \| [^|]+ \| [^|]+ \|$/gm)].map(([, name]) => name)
  expect(listed.toSorted()).toEqual(ours.toSorted())
})
