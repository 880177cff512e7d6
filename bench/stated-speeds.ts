import { ExecutionTracer, TraceRecorder } from '@stepwell/client'
import { newTraceId } from '@stepwell/protocol'
import { TraceQuery } from '@stepwell/query'
import { TraceStorage } from '@stepwell/storage'
import type { BenchContext, Figure } from './harness.ts'
import { percentile, round } from './harness.ts'

const TRACES = 50_000
const FAILURES = 1_000

/** The speeds that the specification states, each beside its bound: single calls, as a caller sees them. */
export async function statedSpeeds(context: BenchContext): Promise<Figure[]> {
  const { databaseUrl, redisUrl, pool, scale } = context
  const results: Figure[] = []
  const add = (name: string, samples: number[], share: number): void => {
    results.push({
      name: `stated.${name}.p${share * 100}`,
      value: round(percentile(samples, share)),
      unit: 'ms',
    })
  }

  const tracer = new ExecutionTracer({ redis: redisUrl })
  const recorder = new TraceRecorder(tracer)
  const creation: number[] = []
  const recording: number[] = []
  for (let i = 0; i < 20_000 * scale; i++) {
    const traceId = time(creation, () => tracer.startTrace('stated', `exec-${i}`, { env: 'prod' }))
    const bound = recorder.bind(traceId)
    for (let k = 0; k < 5; k++) time(recording, () => bound.recordStep(`step-${k}`, 1.5))
    tracer.endTrace('success', { traceId })
    if (i % 100 === 0) await tracer.flush()
  }
  await tracer.close()
  for (const share of [0.5, 0.95, 0.99]) add('trace_creation', creation, share)
  for (const share of [0.5, 0.99, 0.999]) add('step_recording', recording, share)

  await using storage = new TraceStorage(databaseUrl)
  const steps = Array.from({ length: 10 }, (_, k) => ({
    name: `step-${k}`,
    durationMs: 10,
    status: 'success' as const,
  }))
  const insert: number[] = []
  for (let i = 0; i < 1_000 * scale; i++) {
    const startedAt = new Date(Date.now() - i)
    const trace = {
      traceId: newTraceId(startedAt.getTime()),
      skillName: 'stated',
      startedAt,
      totalDurationMs: 100,
      steps,
    }
    await timeAsync(insert, () => storage.finalizeTrace(trace, 'success'))
  }
  add('insert', insert, 0.95)

  await fill(pool, Math.ceil(TRACES * scale))
  await using query = new TraceQuery(databaseUrl)
  const bySkill: number[] = []
  const similar: number[] = []
  for (let i = 0; i < 200; i++) {
    await timeAsync(bySkill, () => query.queryBySkill(`skill-${i % 50}`))
    await timeAsync(similar, () => query.findSimilarFailures(`connection timeout host-${i}`))
  }
  add('by_skill_30_days', bySkill, 0.95)
  add(`similar_of_${FAILURES}_failures`, similar, 0.95)
  return results
}

function time<T>(samples: number[], work: () => T): T {
  const start = performance.now()
  const result = work()
  samples.push(performance.now() - start)
  return result
}

async function timeAsync(samples: number[], work: () => Promise<unknown>): Promise<void> {
  const start = performance.now()
  await work()
  samples.push(performance.now() - start)
}

/** Traces of 50 skills over this month, straight into the table; of them FAILURES failed with distinct messages. */
async function fill(pool: BenchContext['pool'], traces: number): Promise<void> {
  await pool.query(
    `insert into execution_traces (trace_id, started_at, completed_at, total_duration_ms, step_count, skill_name, status, error_message)
     select gen_random_uuid(), now() - random() * (now() - date_trunc('month', now())), now(), random() * 1000, 0, 'skill-' || i % 50,
            case when i <= $2 then 'failed' else 'success' end,
            case when i <= $2 then 'connection ' || (array['timeout', 'refused', 'reset'])[1 + i % 3] || ' host-' || i end
       from generate_series(1, $1) as i`,
    [traces, FAILURES],
  )
  await pool.query('analyze execution_traces')
}
