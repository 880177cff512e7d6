import { migrateToLatest } from '@stepwell/storage'
import { pino } from 'pino'
import { readEnvironment } from './config.ts'
import { createWorker, type StepwellWorker } from './create-worker.ts'

// The composition root of the bin `stepwell-worker`: `stepwell-worker` runs a worker until SIGTERM or SIGINT,
// `stepwell-worker migrate` brings the database up to date and ends. Exit codes: 0 done, 1 failed, 2 wrong usage.

async function main(command: string | undefined): Promise<void> {
  const env = readEnvironment()
  const log = pino({ level: env.STEPWELL_LOG_LEVEL, base: { pid: process.pid } })
  const schema = env.STEPWELL_SCHEMA === undefined ? {} : { schema: env.STEPWELL_SCHEMA }
  if (command === 'migrate') {
    const report = await migrateToLatest({ connectionString: env.DATABASE_URL, ...schema })
    log.info(report, 'database is up to date')
    return
  }
  // Set before the start, which may wait for Redis: as process 1 of a container a signal without a listener does nothing.
  // A signal can come twice, from the terminal and from a parent: close is idempotent.
  let worker: StepwellWorker | undefined
  const shutDown = (): void => {
    if (worker === undefined) process.exit(0)
    worker.close().then(
      () => process.exit(0),
      (error: unknown) => fail(error),
    )
  }
  process.on('SIGTERM', shutDown)
  process.on('SIGINT', shutDown)
  worker = await createWorker({
    redis: env.REDIS_URL,
    database: { connectionString: env.DATABASE_URL, max: 6 },
    namespace: env.STEPWELL_NAMESPACE,
    ...schema,
    shards: env.STEPWELL_SHARDS,
    migrate: env.STEPWELL_MIGRATE,
    correlation: env.STEPWELL_CORRELATION,
    retentionMonths: env.STEPWELL_RETENTION_MONTHS,
    retentionRules: env.STEPWELL_RETENTION_CLASSES ?? [],
    deadLetterBounds: {
      maxLetters: env.STEPWELL_DEAD_LETTERS_MAX,
      maxBytes: env.STEPWELL_DEAD_LETTERS_MAX_MIB * 2 ** 20,
    },
    deadLetterMaxAgeMs: env.STEPWELL_DEAD_LETTERS_DAYS * 86_400_000,
    silenceMs: env.STEPWELL_SILENCE_S * 1000,
    staleMs: env.STEPWELL_STALE_S * 1000,
    checkpointMs: env.STEPWELL_CHECKPOINT_S * 1000,
    maxSteps: env.STEPWELL_MAX_STEPS,
    // Several workers on one machine need no configuration.
    health: {
      host: env.STEPWELL_HEALTH_HOST,
      port: env.STEPWELL_HEALTH_PORT ?? 9464,
      orAnyPort: env.STEPWELL_HEALTH_PORT === undefined,
    },
    shutdownMs: env.STEPWELL_SHUTDOWN_S * 1000,
    log,
  })
}

function fail(error: unknown): never {
  const usage = (error as { code?: string }).code === 'INVALID_INPUT'
  process.stderr.write(
    `stepwell-worker: ${(error as Error).message || String((error as { code?: string }).code ?? error)}\n`,
  )
  process.exit(usage ? 2 : 1)
}

const [command, ...rest] = process.argv.slice(2)
if (rest.length > 0 || (command !== undefined && command !== 'migrate')) {
  process.stderr.write('usage: stepwell-worker            run a worker until SIGTERM or SIGINT\n')
  process.stderr.write('       stepwell-worker migrate    bring the database up to date\n')
  process.exit(command === '--help' || command === '-h' ? 0 : 2)
}
main(command).catch(fail)
