// A program whose Redis is down from its start to its end, and that goes on recording.
import { setImmediate as turn } from 'node:timers/promises'
import { ExecutionTracer } from '@stepwell/client'
import { serve } from '../contender.ts'
import { recordShortRun } from '../ingest/load.ts'

/** Bytes resident before and at most, and what became of the events. */
export type VainReport = Record<'before' | 'peak' | 'emitted' | 'dropped', number>

// Nothing listens there.
const tracer = new ExecutionTracer({ redis: 'redis://127.0.0.1:9', report: () => {} })

serve(async ({ runs }: { runs: number }): Promise<VainReport> => {
  const before = process.memoryUsage.rss()
  for (let i = 0; i < runs; i++) {
    recordShortRun(tracer, i, { kind: 'short' })
    if (i % 100 === 0) await turn()
  }
  const { emitted, dropped } = tracer.counters()
  return {
    before,
    peak: process.resourceUsage().maxRSS * 1_024,
    emitted,
    dropped: Object.values(dropped).reduce((sum, count) => sum + count, 0),
  }
})
