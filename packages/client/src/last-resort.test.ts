import { mkdtempSync, readdirSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { ExecutionTracer } from './index.ts'
import { memorySink } from './testing.ts'

const RUNS = 500

test('a spool that is full: what it does not take stays in memory, steps go first, and all of that is sent when the sink is back', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'stepwell-full-'))
  const sink = memorySink()
  let isAway = true
  const tracer = new ExecutionTracer({
    sink: { ...sink, send: sink.send, isReady: () => !isAway },
    bufferMaxBytes: 1 << 20,
    spool: { folder, maxBytes: 65_536 },
    report: () => {},
  })
  for (let i = 0; i < RUNS; i++) {
    tracer.trace('kept', (t) => {
      for (let k = 0; k < 20; k++) t.recordStep(`a step with a somewhat longer name ${k}`, k)
    })
    // The disk gets a chance.
    await new Promise((resolve) => setImmediate(resolve))
  }
  const before = tracer.counters()
  expect(before.spooled).toBeGreaterThan(0)
  expect(Object.keys(before.dropped)).toEqual(['buffer_full'])
  isAway = false
  expect(await tracer.flush({ timeoutMs: 60_000 })).toBe(true)
  await expect.poll(() => readdirSync(folder)).toEqual([])
  const { emitted, sent, spooled = 0, buffered, dropped } = await tracer.close()
  expect({ emitted, buffered }).toEqual({ emitted: sent + spooled + (dropped.buffer_full ?? 0), buffered: 0 })
  expect(emitted).toBe(RUNS * 22)

  // No run is missing, and each says how much of it is.
  const traces = sink.traces()
  expect(traces).toHaveLength(RUNS)
  for (const { status, stepCount, missingSteps } of traces)
    expect({ status, steps: stepCount + missingSteps }).toEqual({ status: 'success', steps: 20 })
  expect(traces.reduce((sum, trace) => sum + trace.missingSteps, 0)).toBe(dropped.buffer_full)
  rmSync(folder, { recursive: true })
})
