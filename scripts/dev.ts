// `npm run dev`: Redis, Postgres and a worker that stay up until Ctrl-C, with empty tables, and how to use them.
import { styleText } from 'node:util'
import {
  leaseRedisDatabase,
  type SpawnedProcess,
  spawnProcess,
  startServices,
  waitFor,
} from '@stepwell/testkit'
import { makeOwnDatabase } from './own-database.ts'

const stream = { stream: process.stdout }
const bold = (text: string): string => styleText('bold', text, stream)
const dim = (text: string): string => styleText('dim', text, stream)

/** Stopped is how it ends: not a failure. */
const stopped = new AbortController()
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(signal, () => stopped.abort())

const services = await startServices()
let worker: SpawnedProcess | undefined
let database: Awaited<ReturnType<typeof makeOwnDatabase>> | undefined
try {
  const redisUrl = await leaseRedisDatabase(services.redis.url)
  database = await makeOwnDatabase(services.postgres.url, 'stepwell_dev')
  const environment = { REDIS_URL: redisUrl, DATABASE_URL: database.url }
  worker = spawnProcess(new URL('../apps/worker/src/main.ts', import.meta.url), [], {
    ...environment,
    STEPWELL_MIGRATE: 'off',
  })
  await waitFor(() => worker?.stdout().includes('worker reads') || stopped.signal.aborted, {
    what: 'the worker is up',
  })
  const health = /"health":"([^"]+)"/.exec(worker.stdout())?.[1]
  if (!stopped.signal.aborted) {
    console.log(`${bold('Stepwell is up.')} ${dim(`Redis: ${services.redis.from} · Postgres: ${services.postgres.from}`)}

  export REDIS_URL=${redisUrl}
  export DATABASE_URL=${database.url}

  ${dim('worker')}   ${health}/live · /ready · /metrics
  ${dim('watch')}    npm run --silent stepwell -- tail
  ${dim('trace')}    npm run --silent stepwell -- run -- ls /
  ${dim('ask')}      npm run --silent stepwell -- traces

The data lives as long as this runs. Ctrl-C stops everything.`)
  }
  await Promise.race([
    new Promise((resolve) => stopped.signal.addEventListener('abort', resolve, { once: true })),
    worker.exited.then(({ code }) => {
      if (stopped.signal.aborted) return
      process.exitCode = 1
      console.error(`The worker ended by itself (${code}): ${worker?.stdout().trim().split('\n').at(-1)}`)
    }),
    stopped.signal.aborted ? undefined : new Promise(() => {}),
  ])
} finally {
  await worker?.kill('SIGTERM')
  await database?.drop()
  await services.stop()
}
console.log(stopped.signal.aborted ? 'Stopped: nothing is left running.' : '')
