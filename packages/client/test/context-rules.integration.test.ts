import { node22, spawnProcess } from '@stepwell/testkit'
import { expect, test } from 'vitest'

const nodes = new Map([['this Node', process.execPath]])
const older = node22()
if (older !== undefined) nodes.set('Node 22', older)
else console.log('There is no Node 22 for this system on npm: the context rules are tested on this one only')

test.each([...nodes])('the context rules hold on %s', async (_, node) => {
  const program = spawnProcess(new URL('./context-rules.ts', import.meta.url), [], {}, node)
  expect(await program.exited, program.stderr()).toEqual({ code: 0, signal: null })
  expect(program.stdout()).toMatch(/^v2[2-9]\./)
})
