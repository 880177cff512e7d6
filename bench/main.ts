// `npm run bench -- [names] [--json] [--scale 0.1] [--rounds 5] [--traces 1000000]`: runs the benchmarks named, or all; with --json one document on stdout.
import { parseArgs } from 'node:util'
import { migrateToLatest } from '@stepwell/storage'
import { leaseRedisDatabase, startServices } from '@stepwell/testkit'
import { Redis } from 'ioredis'
import pg from 'pg'
import { clientCost } from './client-cost.ts'
import { growth } from './growth.ts'
import { type Benchmark, describeMachine, type Figure } from './harness.ts'
import { ingest } from './ingest.ts'
import { ingestPeers } from './ingest-peers.ts'
import { ingestWorkers } from './ingest-workers.ts'
import { latency } from './latency.ts'
import { memory } from './memory.ts'
import { query } from './query.ts'
import { redaction } from './redaction.ts'
import { singleCalls } from './single-calls.ts'
import { statedSpeeds } from './stated-speeds.ts'
import { storageForm } from './storage-form.ts'

const BENCHMARKS: Record<string, Benchmark> = {
  client: clientCost,
  calls: singleCalls,
  ingest,
  peers: ingestPeers,
  workers: ingestWorkers,
  latency,
  memory,
  growth,
  query,
  stated: statedSpeeds,
  redaction,
  storage_form: storageForm,
}

const { values, positionals: names } = parseArgs({
  allowPositionals: true,
  options: {
    json: { type: 'boolean', default: false },
    scale: { type: 'string', default: '1' },
    rounds: { type: 'string', default: '5' },
    traces: { type: 'string' },
  },
})
const scale = Number(values.scale)
const rounds = Number(values.rounds)
const traces = values.traces === undefined ? undefined : Number(values.traces)
const unknown = names.find((name) => !(name in BENCHMARKS))
const wrong =
  unknown !== undefined
    ? `There is no benchmark '${unknown}'.`
    : !(scale > 0 && scale <= 100)
      ? '--scale takes a number, 1 is the usual work'
      : !(Number.isInteger(rounds) && rounds > 0)
        ? '--rounds takes a whole number'
        : traces !== undefined && !(Number.isInteger(traces) && traces >= 1_000)
          ? '--traces takes a whole number, 1000 or more'
          : undefined
if (wrong !== undefined) {
  console.error(wrong)
  console.error(
    `usage: npm run bench -- [${Object.keys(BENCHMARKS).join('|')}] [--json] [--scale 0.1] [--rounds 5] [--traces 1000000]`,
  )
  process.exit(2)
}

const services = await startServices({ durable: true })
const figures: Figure[] = []
const notes: string[] = []
const note = (text: string): void => {
  notes.push(text)
  if (!values.json) console.log(text)
}
let settings: Record<string, unknown> = {}
try {
  const databaseUrl = services.postgres.url
  await migrateToLatest({ connectionString: databaseUrl })
  const redisUrl = await leaseRedisDatabase(services.redis.url)
  const redis = new Redis(redisUrl)
  const pool = new pg.Pool({ connectionString: databaseUrl, max: 2 })
  // When a benchmark fails the servers stop under it, and what went wrong must be seen, not this.
  pool.on('error', () => {})
  settings = { ...(await readSettings(redis, pool)), scale, rounds }
  try {
    for (const [name, benchmark] of Object.entries(BENCHMARKS)) {
      if (names.length > 0 && !names.includes(name)) continue
      for (const figure of await benchmark({
        services,
        redisUrl,
        databaseUrl,
        redis,
        pool,
        scale,
        rounds,
        traces,
        note,
      })) {
        figures.push(figure)
        if (!values.json) console.log(lineOf(figure))
      }
    }
  } finally {
    redis.disconnect()
    await pool.end()
  }
} finally {
  await services.stop()
}
if (values.json)
  process.stdout.write(
    `${JSON.stringify({ machine: describeMachine(), settings, figures, notes }, null, 2)}\n`,
  )

async function readSettings(redis: Redis, pool: pg.Pool): Promise<Record<string, unknown>> {
  const { rows } = await pool.query(
    `select current_setting('server_version') as postgres, current_setting('fsync') as fsync,
            current_setting('synchronous_commit') as synchronous_commit, current_setting('shared_buffers') as shared_buffers`,
  )
  const version = /^redis_version:(.*)$/m.exec(await redis.info('server'))?.[1]?.trim()
  const [, appendfsync] = (await redis.config('GET', 'appendfsync')) as string[]
  return { ...rows[0], redis: version, appendfsync }
}

function lineOf({ name, value, unit, low, high }: Figure): string {
  const spread = low === undefined || high === undefined ? '' : `  ${low} … ${high}`
  return `${name.padEnd(48)}${String(value).padStart(10)} ${unit.padEnd(12)}${spread}`
}
