// `npm run bench -- [names] [--json] [--scale 0.1]`: runs the benchmarks named, or all; with --json one document on stdout.
import { migrateToLatest } from '@stepwell/storage'
import { leaseRedisDatabase, startServices } from '@stepwell/testkit'
import pg from 'pg'
import { type Benchmark, describeMachine, type Result } from './harness.ts'
import { ingest } from './ingest.ts'
import { redaction } from './redaction.ts'
import { statedSpeeds } from './stated-speeds.ts'
import { storageForm } from './storage-form.ts'

const BENCHMARKS: Record<string, Benchmark> = {
  ingest,
  stated: statedSpeeds,
  redaction,
  storage_form: storageForm,
}

const args = process.argv.slice(2)
const isJson = args.includes('--json')
const scaleAt = args.indexOf('--scale')
const scale = scaleAt < 0 ? 1 : Number(args[scaleAt + 1])
const names = args.filter((arg, i) => !arg.startsWith('--') && (scaleAt < 0 || i !== scaleAt + 1))
const unknown = names.find((name) => !(name in BENCHMARKS))
if (unknown !== undefined || !(scale > 0 && scale <= 100)) {
  console.error(
    unknown === undefined
      ? '--scale takes a number, 1 is the usual work'
      : `There is no benchmark '${unknown}'.`,
  )
  console.error(`usage: npm run bench -- [${Object.keys(BENCHMARKS).join('|')}] [--json] [--scale 0.1]`)
  process.exit(2)
}

const services = await startServices({ durable: true })
const results: Result[] = []
let settings: Record<string, unknown> = {}
try {
  const databaseUrl = services.postgres.url
  await migrateToLatest({ connectionString: databaseUrl })
  const redisUrl = await leaseRedisDatabase(services.redis.url)
  const pool = new pg.Pool({ connectionString: databaseUrl, max: 2 })
  const { rows } = await pool.query(
    `select current_setting('server_version') as postgres, current_setting('fsync') as fsync, current_setting('synchronous_commit') as synchronous_commit`,
  )
  settings = { ...rows[0], redis: services.redis.from, scale }
  for (const [name, benchmark] of Object.entries(BENCHMARKS)) {
    if (names.length > 0 && !names.includes(name)) continue
    for (const result of await benchmark({ services, redisUrl, databaseUrl, pool, scale })) {
      results.push(result)
      if (!isJson)
        console.log(
          `${result.name.padEnd(36)}${result.metric.padEnd(20)}${String(result.value).padStart(10)} ${result.unit}`,
        )
    }
  }
  await pool.end()
} finally {
  await services.stop()
}
if (isJson)
  process.stdout.write(`${JSON.stringify({ machine: describeMachine(), settings, results }, null, 2)}\n`)
