import { ExecutionTracer, TraceRecorder } from '@stepwell/client'
import { TraceQuery } from '@stepwell/query'
import { type TestDatabase, waitFor } from '@stepwell/testkit'
import { createDatabase, redisForFile } from '@stepwell/testkit/vitest'
import { createWorker } from '@stepwell/worker'
import { expect, test } from 'vitest'
import { generateRuns, type Run, readRuns } from './run-corpus.ts'

const SEED = 20_261_124

const corpora: [name: string, runs: () => Run[]][] = [
  [`400 generated runs (seed ${SEED})`, () => generateRuns(400, SEED)],
]
const file = process.env.STEPWELL_REAL_DATA
if (file !== undefined && file !== '')
  corpora.push(['the real runs of STEPWELL_REAL_DATA', () => readRuns(file)])
else console.log('STEPWELL_REAL_DATA is not set: the generated runs are tested, no real ones')

test.each(corpora)('%s go through the whole pipeline and come back as they went in', async (_, load) => {
  const runs = load()
  const database: TestDatabase = await createDatabase()
  const redis = await redisForFile()
  {
    await using _worker = await createWorker({
      redis,
      database: database.url,
      migrate: false,
      checkpointMs: 300,
      silenceMs: 600_000,
    })
    await using query = new TraceQuery(database.url)
    const tracer = new ExecutionTracer({ redis })
    const ids = runs.map((run) => emit(tracer, run))
    const { emitted, sent } = await tracer.close({ timeoutMs: 60_000 })
    expect(sent).toBe(emitted)
    await waitFor(
      async () => {
        let whole = 0
        for await (const trace of query.findTraces({ limit: 1_000 })) if (trace.missingSteps === 0) whole += 1
        return whole === runs.length
      },
      { what: 'all runs are stored' },
    )
    for (const [i, run] of runs.entries()) expect(await readBack(query, ids[i] as string, run)).toEqual(run)
  }
  await database.drop()
})

function emit(tracer: ExecutionTracer, run: Run): string {
  const traceId = tracer.startTrace(run.skill_name, {
    startedAt: new Date(run.started_at),
    executionId: run.execution_id,
    metadata: run.metadata,
  })
  const recorder = new TraceRecorder(tracer).bind(traceId)
  for (const step of run.steps) {
    const startedAt = step.timestamp === undefined ? null : new Date(step.timestamp)
    recorder.recordStep(step.name, step.duration_ms, step.status, step.error_message, { startedAt })
  }
  if (run.status !== 'running') {
    tracer.endTrace(run.status, {
      traceId,
      errorMessage: run.error_message,
      completedAt: run.completed_at === undefined ? null : new Date(run.completed_at),
      durationMs: run.total_duration_ms ?? null,
    })
  }
  return traceId
}

async function readBack(query: TraceQuery, traceId: string, original: Run): Promise<Run> {
  const trace = await query.getTrace(traceId)
  if (trace === undefined) throw new Error(`${traceId} is not stored`)
  const { executionId, completedAt, totalDurationMs, errorMessage, metadata } = trace
  // A failed run without a message of its own shows that of the step that failed last.
  const isDerived =
    original.error_message === undefined && trace.steps.some((step) => step.errorMessage === errorMessage)
  return {
    skill_name: trace.skillName,
    ...(executionId === undefined ? {} : { execution_id: executionId }),
    started_at: same(trace.startedAt, original.started_at),
    ...(completedAt === undefined ? {} : { completed_at: same(completedAt, original.completed_at) }),
    ...(totalDurationMs === undefined ? {} : { total_duration_ms: totalDurationMs }),
    status: trace.status,
    ...(errorMessage === undefined || isDerived ? {} : { error_message: errorMessage }),
    ...(original.metadata === undefined && Object.keys(metadata).length === 0 ? {} : { metadata }),
    steps: trace.steps.map((step, i) => ({
      name: step.name,
      ...(step.timestamp === undefined
        ? {}
        : { timestamp: same(step.timestamp, original.steps[i]?.timestamp) }),
      duration_ms: step.durationMs as number,
      status: step.status as 'success' | 'failed',
      ...(step.errorMessage === undefined ? {} : { error_message: step.errorMessage }),
    })),
  }
}

/** The original's spelling of a time, if it is the same time. */
function same(time: Date, original: string | undefined): string {
  return original !== undefined && new Date(original).getTime() === time.getTime()
    ? original
    : time.toISOString()
}
