// `npm run demo`: Redis, Postgres, a worker and two producers as separate processes; then what a user would ask. Ends by itself
// and leaves nothing running.

import { type Trace, TraceQuery } from '@stepwell/query'
import { migrateToLatest } from '@stepwell/storage'
import {
  leaseRedisDatabase,
  type SpawnedProcess,
  spawnProcess,
  startServices,
  waitFor,
} from '@stepwell/testkit'
import pg from 'pg'

const colour = process.stdout.isTTY
const bold = (text: string): string => (colour ? `\x1b[1m${text}\x1b[0m` : text)
const dim = (text: string): string => (colour ? `\x1b[2m${text}\x1b[0m` : text)
const red = (text: string): string => (colour ? `\x1b[31m${text}\x1b[0m` : text)
const heading = (text: string): void => console.log(`\n${bold(text)}`)
const ms = (duration: number | undefined): string =>
  duration === undefined ? '–' : `${duration < 10 ? duration.toFixed(1) : Math.round(duration)} ms`

console.log(`${bold('Stepwell')}: execution tracing on the Redis and the Postgres you already run`)

const services = await startServices()
const started: SpawnedProcess[] = []
const stop = async (): Promise<void> => {
  await Promise.all(started.map((process) => process.kill()))
  await services.stop()
}
for (const signal of ['SIGINT', 'SIGTERM'] as const) {
  process.once(signal, () => {
    void stop().then(() => process.exit(130))
  })
}

try {
  await show()
} finally {
  await stop()
}

async function show(): Promise<void> {
  console.log(dim(`Redis: ${services.redis.from} · Postgres: ${services.postgres.from}`))
  const [redis, database] = await Promise.all([leaseRedisDatabase(services.redis.url), makeDatabase()])
  const worker = spawn('../apps/worker/src/main.ts', [], {
    STEPWELL_MIGRATE: 'off',
    STEPWELL_HEALTH_PORT: '0',
  })

  heading(
    'Two processes run skills that do real work: files, compression, child processes, HTTP, refused connections',
  )
  const startMs = performance.now()
  const producers = ['first', 'second'].map((role) => spawn('./demo-producer.ts', [role]))
  const counters = await Promise.all(producers.map(finished))
  const emitted = counters.reduce((sum, each) => sum + each.emitted, 0)
  console.log(
    `${emitted} events in ${((performance.now() - startMs) / 1000).toFixed(1)} s, ${counters.map((each) => each.sent).join(' + ')} acknowledged by Redis`,
  )

  await using query = new TraceQuery(database.url)
  const emittedMs = performance.now()
  const traces = await waitFor(
    async () => {
      const all = (await query.findTraces({ limit: 1_000 })).traces
      const events = all.reduce((sum, trace) => sum + trace.stepCount + 2, 0)
      return events === emitted &&
        all.every((trace) => trace.status !== 'running' && trace.missingSteps === 0)
        ? all
        : undefined
    },
    { what: 'all traces are stored and whole', timeoutMs: 20_000 },
  )
  console.log(
    `${traces.length} traces stored, none with a step missing, ${Math.round(performance.now() - emittedMs)} ms after the last event`,
  )

  heading('What ran')
  for (const skill of await query.listSkills()) {
    const runs = await query.queryBySkill(skill.skillName, { limit: 1_000 })
    const durations = runs.map((run) => run.totalDurationMs ?? 0).sort((a, b) => a - b)
    const p95 = durations[Math.ceil(durations.length * 0.95) - 1]
    const failed = skill.failedCount === 0 ? '' : red(`${skill.failedCount} failed`)
    console.log(
      `  ${skill.skillName.padEnd(16)}${String(skill.traceCount).padStart(4)} runs   p95 ${ms(p95).padStart(8)}   ${failed}`,
    )
  }

  heading('One run, worked on by two processes')
  const release = await query.getTraceByExecutionId('release-1')
  if (release === undefined) throw new Error('the release was not stored')
  printWaterfall(release)

  const message = 'connect ECONNREFUSED 127.0.0.1:6379'
  heading('Have we seen this before?')
  console.log(`  ${red(message)}`)
  for (const similar of await query.findSimilarFailures(message, { limit: 3 })) {
    const percent = String(Math.round(similar.similarityScore * 100)).padStart(4)
    console.log(
      `  ${percent} %  ${similar.skillName.padEnd(14)} ${similar.errorMessage}  ${dim(similar.startedAt.toISOString())}`,
    )
  }

  const { code } = await worker.kill('SIGTERM')
  heading(
    code === 0
      ? 'Done: the worker stopped cleanly, nothing is left running.'
      : `The worker ended with ${code}: ${worker.stderr()}`,
  )
  await database.drop()
  process.exitCode = code ?? 1

  function spawn(file: string, args: string[], env: Record<string, string> = {}): SpawnedProcess {
    const child = spawnProcess(new URL(file, import.meta.url), args, {
      REDIS_URL: redis,
      DATABASE_URL: database.url,
      ...env,
    })
    started.push(child)
    return child
  }
}

/** A database of the demo's own: a given server may hold somebody's traces. */
async function makeDatabase(): Promise<{ url: string; drop(): Promise<void> }> {
  const server = services.postgres.url
  const name = `stepwell_demo_${process.pid}`
  const onServer = async (statement: string): Promise<void> => {
    const client = new pg.Client({ connectionString: server })
    await client.connect()
    await client.query(statement)
    await client.end()
  }
  await onServer(`create database ${name}`)
  const url = new URL(server)
  url.pathname = `/${name}`
  await migrateToLatest({ connectionString: url.href })
  return { url: url.href, drop: () => onServer(`drop database ${name} with (force)`) }
}

async function finished(producer: SpawnedProcess): Promise<{ emitted: number; sent: number }> {
  const { code } = await producer.exited
  if (code !== 0) throw new Error(`a producer failed: ${producer.stderr()}`)
  return JSON.parse(producer.stdout())
}

/** Steps as bars on the time of their trace, nested ones indented. */
function printWaterfall(trace: Trace): void {
  const width = 36
  const total = Math.max(trace.totalDurationMs ?? 0, 1)
  console.log(`  ${trace.skillName} ${dim(trace.traceId)} ${trace.status} ${ms(trace.totalDurationMs)}`)
  const depth = (id: Trace['steps'][number]['id'] | undefined): number => {
    const parent = trace.steps.find((step) => step.id === id)?.parentId
    return parent === undefined ? 0 : 1 + depth(parent)
  }
  for (const step of [...trace.steps].sort(
    (a, b) => (a.timestamp?.getTime() ?? 0) - (b.timestamp?.getTime() ?? 0),
  )) {
    const from = Math.round((((step.timestamp?.getTime() ?? 0) - trace.startedAt.getTime()) / total) * width)
    const length = Math.max(1, Math.round(((step.durationMs ?? 0) / total) * width))
    const bar = `${' '.repeat(Math.min(Math.max(0, from), width - 1))}${'█'.repeat(length)}`
      .slice(0, width)
      .padEnd(width)
    const name = `${'  '.repeat(depth(step.id))}${step.name}`.padEnd(22)
    console.log(`  ${name}${step.status === 'failed' ? red(bar) : bar} ${ms(step.durationMs)}`)
  }
}
