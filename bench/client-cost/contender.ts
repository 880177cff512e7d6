// One of those who record the work, as a process of its own: `contender.ts <who> <where to send>`.
import { PerformanceObserver } from 'node:perf_hooks'
import { serve } from '../contender.ts'
import { openTelemetry } from './opentelemetry.ts'
import { stepwell } from './stepwell.ts'
import { stringify } from './stringify.ts'
import { type Cost, type Recorder, STEPS, type Work } from './workload.ts'

/** Steps between two flushes: what a busy process records in 20 ms or so. */
const STEPS_PER_FLUSH = 2_000

const [who, target = ''] = process.argv.slice(2)
const recorder = recorderOf(who)

function recorderOf(name: string | undefined): Recorder {
  if (name === 'stepwell') return stepwell(target)
  if (name === 'otlp_json') return openTelemetry('json', target)
  if (name === 'otlp_protobuf') return openTelemetry('protobuf', target)
  if (name === 'stringify') return stringify()
  throw new Error(`there is no contender '${name}'`)
}

let run = 0
// Connected before anything is measured.
recorder.run(run++, { shape: 'flat', rich: false, runs: 1 })
await recorder.flush()

const collections = new PerformanceObserver(() => {})
collections.observe({ entryTypes: ['gc'] })

serve(async (work: Work): Promise<Cost> => {
  // With --expose-gc what is allocated is counted instead: the young generation is made so large that nothing is collected meanwhile.
  global.gc?.()
  collections.takeRecords()
  const heapBefore = process.memoryUsage().heapUsed
  const startMs = performance.now()
  const before = process.cpuUsage()
  for (let i = 1; i <= work.runs; i++) {
    recorder.run(run++, work)
    if (i % (STEPS_PER_FLUSH / STEPS) === 0) await recorder.flush()
  }
  await recorder.flush()
  const { user, system } = process.cpuUsage(before)
  const wallMs = performance.now() - startMs
  const bytes = process.memoryUsage().heapUsed - heapBefore
  if (global.gc !== undefined && collections.takeRecords().length > 0)
    throw new Error('garbage was collected while allocations were counted: count fewer runs')
  await recorder.verify()
  return { cpuMs: (user + system) / 1_000, wallMs, bytes }
})
