import { readFileSync } from 'node:fs'
import { expect, test } from 'vitest'
import { assemble } from './assemble.ts'
import type { Said } from './delta.ts'
import { rowOfState, traceOfRow } from './row.ts'
import { decodeFrame } from './schema.ts'

const page = readFileSync(new URL('../../../docs/PROTOCOL.md', import.meta.url), 'utf8')
const example = page.slice(page.indexOf('## An example'))
const blocks = (language: string): string[] =>
  [...example.matchAll(new RegExp(`\`\`\`${language}\\n([\\s\\S]*?)\`\`\``, 'g'))].map(
    (match) => match[1] as string,
  )

test('the documented frames make the documented trace', () => {
  const said: Said[] = blocks('text').flatMap((block) => {
    const flat = block
      .trim()
      .split('\n')
      .flatMap((line) => [line.slice(0, 1), line.slice(2)])
    const decoded = decodeFrame(flat, Date.UTC(2025, 11, 1))
    if (!decoded.ok) throw new Error(decoded.reason)
    expect(decoded.refused).toEqual([])
    return decoded.deltas.map((delta) => ({ producer: '', delta }))
  })
  expect(said).toHaveLength(2)
  const trace = traceOfRow(rowOfState(assemble(said)))
  expect(JSON.parse(JSON.stringify(trace))).toEqual(JSON.parse(blocks('json')[0] as string))
})
