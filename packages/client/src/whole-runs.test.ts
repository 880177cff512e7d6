import { encodeFrame, RunPart } from '@stepwell/protocol'
import { readFrame } from '@stepwell/protocol/schema'
import { expect, test } from 'vitest'
import { ExecutionTracer } from './index.ts'
import { memorySink } from './testing.ts'

test('runs that went well are written so that a worker need not parse them', async () => {
  const sink = memorySink()
  const tracer = new ExecutionTracer({ sink })
  tracer.trace('plain', { executionId: 'exec-1', metadata: { env: 'prod', try: 1 } }, (t) => {
    for (let i = 0; i < 12; i++) t.recordStep(`step-${i}`, i * 3.7)
  })
  tracer.trace('with attributes', (t) => {
    t.recordStep('ask', 12.5, 'success', undefined, {
      attributes: { model: 'x', 'usage.input_tokens': 812 },
    })
    t.recordStep('ask again', 0.125, 'failed', 'timed out')
    t.recordStep('give up', 1e6, 'timeout')
  })
  tracer.trace('nothing said of it', (t) => t.recordStep('only', 1))
  await tracer.close()
  const read = sink.frames.flatMap((frame) => {
    const decoded = readFrame(encodeFrame(frame), Date.now())
    return decoded.ok ? decoded.deltas : []
  })
  expect(read.map((delta) => delta instanceof RunPart && delta.isWhole && delta.stepCount)).toEqual([
    12, 3, 1,
  ])
})
