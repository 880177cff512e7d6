// A process that works on the runs `run-0` … `run-49` together with others: `worked-on-run.ts owner`, or `helper`.
import { setTimeout as after } from 'node:timers/promises'
import { ExecutionTracer } from '@stepwell/client'

const RUNS = 50
const [role] = process.argv.slice(2)
const tracer = new ExecutionTracer({ redis: process.env.REDIS_URL, flushIntervalMs: 10 })

if (role === 'owner') {
  await Promise.all(
    Array.from({ length: RUNS }, (_, i) =>
      tracer.trace('shared-run', { executionId: `run-${i}` }, async (t) => {
        await t.step('plan', () => after(20 + (i % 7)))
        // Long enough for the others to find it, and to be done.
        await t.step('wait', () => after(1_500))
      }),
    ),
  )
} else {
  await Promise.all(
    Array.from({ length: RUNS }, async (_, i) => {
      await using run = tracer.attach({ executionId: `run-${i}` })
      await run.step('part', async (s) => {
        await after(i % 11)
        await s.step('detail', () => after(3))
      })
    }),
  )
}
const { sent, emitted } = await tracer.close({ timeoutMs: 60_000 })
process.stdout.write(JSON.stringify({ sent, emitted }))
