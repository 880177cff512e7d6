import { writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { ExecutionTracer } from '@stepwell/client'
import { migrateToLatest } from '@stepwell/storage'
import {
  type Certificate,
  freePort,
  makeCertificate,
  type PrivateServer,
  type SpawnedProcess,
  spawnProcess,
  startPostgres,
  startRedis,
  waitFor,
} from '@stepwell/testkit'
import pg from 'pg'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { type CliEnd, runCli } from './cli-bench.ts'
import { endWorkers, spawnWorker, startWorkers } from './worker-processes.ts'

const PASSWORD = 'hush-hush-4711'
let certificate: Certificate
let redis: PrivateServer
let postgres: PrivateServer
/** A Redis whose certificate is for another name. */
let stranger: { server: PrivateServer; port: number; file: string; [Symbol.dispose](): void }
let good: { REDIS_URL: string; DATABASE_URL: string; NODE_EXTRA_CA_CERTS: string }

async function startTlsRedis({
  certificateFile,
  keyFile,
}: Certificate): Promise<{ server: PrivateServer; port: number }> {
  const port = await freePort()
  const files = [
    '--tls-cert-file',
    certificateFile,
    '--tls-key-file',
    keyFile,
    '--tls-ca-cert-file',
    certificateFile,
  ]
  const args = [
    '--tls-port',
    String(port),
    ...files,
    '--tls-auth-clients',
    'no',
    '--user',
    'app',
    'on',
    `>${PASSWORD}`,
    '~*',
    '&*',
    '+@all',
  ]
  return { server: await startRedis({ args }), port }
}

beforeAll(async () => {
  certificate = await makeCertificate()
  const { certificateFile, keyFile } = certificate
  const hbaFile = join(dirname(certificateFile), 'pg_hba.conf')
  const rules = ['host all app 127.0.0.1/32 scram-sha-256', 'host all all 127.0.0.1/32 trust']
  writeFileSync(hbaFile, `${rules.join('\n')}\n`, { mode: 0o644 })
  const other = await makeCertificate('elsewhere.example')
  const [tls, elsewhere, database] = await Promise.all([
    startTlsRedis(certificate),
    startTlsRedis(other),
    startPostgres({
      settings: { ssl: 'on', ssl_cert_file: certificateFile, ssl_key_file: keyFile, hba_file: hbaFile },
    }),
  ])
  redis = tls.server
  stranger = { ...elsewhere, file: other.certificateFile, [Symbol.dispose]: () => other[Symbol.dispose]() }
  postgres = database
  await migrateToLatest({ connectionString: postgres.url })
  const client = new pg.Client({ connectionString: postgres.url })
  await client.connect()
  await client.query(`create role app login password 'another'`)
  await client.end()
  good = {
    REDIS_URL: `rediss://app:${PASSWORD}@localhost:${tls.port}`,
    DATABASE_URL: `postgres://postgres:${PASSWORD}@localhost:${postgres.port}/postgres?sslmode=verify-full&sslrootcert=${certificateFile}`,
    NODE_EXTRA_CA_CERTS: certificateFile,
  }
})
afterAll(async () => {
  await redis?.stop()
  await stranger?.server.stop()
  stranger?.[Symbol.dispose]()
  await postgres?.stop()
  certificate?.[Symbol.dispose]()
})

const runProgram = (env: { REDIS_URL: string; NODE_EXTRA_CA_CERTS?: string }): SpawnedProcess =>
  spawnProcess(
    new URL('../packages/client/test/program.ts', import.meta.url),
    ['closes', env.REDIS_URL],
    env.NODE_EXTRA_CA_CERTS === undefined ? {} : { NODE_EXTRA_CA_CERTS: env.NODE_EXTRA_CA_CERTS },
  )

test('client, worker and command line work over TLS, and trust the certificate that they are told to', async () => {
  const workers = await startWorkers(1, good)
  await using program = runProgram(good)
  expect(await program.exited, program.stderr()).toEqual({ code: 0, signal: null })
  expect(JSON.parse(program.stdout())).toEqual({ emitted: 2, sent: 2, buffered: 0, dropped: {} })
  const pool = new pg.Pool({ connectionString: postgres.url })
  await waitFor(async () => (await pool.query('select from execution_traces')).rowCount === 1, {
    what: 'it is stored',
  })
  const { rows } = await pool.query(
    `select count(*)::int as plain from pg_stat_ssl join pg_stat_activity using (pid) where not ssl and backend_type = 'client backend' and pid <> pg_backend_pid()`,
  )
  expect(rows).toEqual([{ plain: 0 }])
  await pool.end()
  const doctor = await runCli(['doctor', '--json'], good)
  expect(JSON.parse(doctor.stdout).checks).toContainEqual(
    expect.objectContaining({ area: 'workers', name: 'running', status: 'ok' }),
  )
  expect(doctor.stderr).toBe('')
  await endWorkers(workers)
  expect(workers[0]?.stdout()).not.toContain(PASSWORD)
})

/** What worker, command line and client say, with these settings; all of it. */
async function told(env: { REDIS_URL: string; DATABASE_URL: string; NODE_EXTRA_CA_CERTS?: string }): Promise<{
  worker: string
  cli: CliEnd
  client: string
}> {
  const settings = env as Record<string, string>
  await using worker = spawnWorker({ ...settings, STEPWELL_MIGRATE: 'on' })
  const [cli, client] = await Promise.all([runCli(['doctor'], settings), clientReport(settings)])
  // It ends where Postgres refuses it, and tries for ever where Redis does.
  await waitFor(() => worker.stdout().includes('trouble outside') || worker.stderr() !== '', {
    what: 'the worker complains',
  })
  expect(worker.stdout()).not.toContain('worker reads')
  await worker.kill()
  return { worker: worker.stdout() + worker.stderr(), cli, client }
}

async function clientReport({ REDIS_URL }: Record<string, string>): Promise<string> {
  const messages: string[] = []
  const tracer = new ExecutionTracer({ redis: REDIS_URL, report: ({ message }) => messages.push(message) })
  tracer.trace('x', () => {})
  await tracer.close({ timeoutMs: 700 })
  return messages.join('\n')
}

test.concurrent.each<[what: string, change: () => Partial<typeof good>, worker: RegExp, cli: RegExp]>([
  [
    'a certificate of Redis that nobody vouches for',
    () => ({ NODE_EXTRA_CA_CERTS: '' }),
    /self-signed certificate/,
    /Redis cannot be reached at localhost:\d+ \(self-signed certificate/,
  ],
  [
    'a certificate of Redis for another name',
    () => ({
      REDIS_URL: good.REDIS_URL.replace(/\d+$/, String(stranger.port)),
      NODE_EXTRA_CA_CERTS: stranger.file,
    }),
    /does not match certificate/,
    /Redis cannot be reached at localhost:\d+ \(Hostname\/IP does not match certificate/,
  ],
  [
    'a wrong password of Redis',
    () => ({ REDIS_URL: good.REDIS_URL.replace('app:', 'app:wrong-') }),
    /WRONGPASS/,
    /Redis cannot be reached at localhost:\d+ \(WRONGPASS/,
  ],
  [
    'a Redis that is not there',
    () => ({ REDIS_URL: `rediss://app:${PASSWORD}@127.0.0.1:1` }),
    /ECONNREFUSED/,
    /Redis cannot be reached at 127.0.0.1:1 \(.*ECONNREFUSED/,
  ],
  [
    'a cluster that is not there',
    () => ({ REDIS_URL: `rediss+cluster://app:${PASSWORD}@127.0.0.1:1` }),
    /ECONNREFUSED|closed/,
    /Redis cannot be reached at 127.0.0.1:1/,
  ],
  [
    'a certificate of Postgres that nobody vouches for',
    () => ({ DATABASE_URL: good.DATABASE_URL.replace(/&sslrootcert=.*/, ''), NODE_EXTRA_CA_CERTS: '' }),
    /self-signed certificate/,
    /Postgres[\s\S]*self-signed certificate/,
  ],
  [
    'a wrong password of Postgres',
    () => ({ DATABASE_URL: good.DATABASE_URL.replace('//postgres:', '//app:') }),
    /password authentication failed for user "app"/,
    /Postgres refuses: password authentication failed/,
  ],
])('%s: a clear error, and no password in it', async (_, change, worker, cli) => {
  const said = await told({ ...good, ...change() })
  expect(said.worker).toMatch(worker)
  expect(said.cli.stdout + said.cli.stderr).toMatch(cli)
  expect(said.cli.code).toBe(1)
  for (const text of [said.worker, said.cli.stdout, said.cli.stderr, said.client])
    expect(text).not.toContain(PASSWORD)
})
