import type { TracerCounters } from '@stepwell/client'
import { type SpawnedProcess, spawnProcess } from '@stepwell/testkit'
import type { FaultBench } from '../faults/fault-bench.ts'

/** What the producer of a long trace says at its end. */
export interface LongTraceReport {
  traceId: string
  counters: TracerCounters
  /** That recording took. */
  cpuUs: number
  rssMaxBytes: number
}

/** Starts a process that records one trace of so many steps, evenly over that many seconds; 0: as fast as it can. */
export function spawnLongTrace(bench: FaultBench, steps: number, seconds = 0): SpawnedProcess {
  return spawnProcess(
    new URL('./long-trace-producer.ts', import.meta.url),
    [String(steps), String(seconds)],
    {
      REDIS_URL: bench.server.url,
      // Heap enough for what may wait to be sent, and for no trace of 100,000 steps.
      NODE_OPTIONS: '--max-old-space-size=48',
    },
  )
}
