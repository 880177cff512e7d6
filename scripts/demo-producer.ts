// A producer of the demo: skills that do real work on this machine, some of which fails. `demo-producer.ts <role> [number]`; see ROLES.
// Prints its counters when it is done.
import { execFile } from 'node:child_process'
import { createHash } from 'node:crypto'
import { mkdir, mkdtemp, readFile, rm, stat, writeFile } from 'node:fs/promises'
import { createServer, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { gunzip, gzip } from 'node:zlib'
import { ExecutionTracer, step } from '@stepwell/client'
import pg from 'pg'

const [role = '', number = '1'] = process.argv.slice(2)
const run = promisify(execFile)
const tracer = new ExecutionTracer({ redis: process.env.REDIS_URL, service: `demo-${role}` })

/** Quietly: the failures are what the demo shows afterwards. */
const attempt = (work: Promise<unknown>): Promise<unknown> => work.catch(() => {})

/** Runs a command; what it wrote to stderr is the error. */
const command = (file: string, ...args: string[]): Promise<unknown> =>
  run(file, args).catch((error: { stderr: string; code: number }) => {
    throw new Error(error.stderr.trim().split('\n').at(-1) || `${file} ended with exit code ${error.code}`)
  })

/** Files written, packed, unpacked and compared; every seventh run looks for one that was never written. */
async function archive(i: number): Promise<void> {
  const count = 3 + (i % 5)
  await tracer.trace(
    'archive-files',
    { executionId: `archive-${i}`, metadata: { files: count } },
    async (t) => {
      const folder = await step('make-folder', () => mkdtemp(join(tmpdir(), 'stepwell-demo-')))
      try {
        const contents = await step('write-files', async () => {
          const texts = Array.from(
            { length: count },
            (_, k) => `${k}: ${'some text '.repeat(1_000 * (k + 1))}`,
          )
          await Promise.all(texts.map((text, k) => writeFile(join(folder, `${k}.txt`), text)))
          return texts
        })
        const packed = await step('compress', async (s) => {
          const text = contents.join('\n')
          const bytes = await promisify(gzip)(text)
          s.set({ bytes: bytes.length, ratio: Number((text.length / bytes.length).toFixed(1)) })
          return bytes
        })
        await step('verify', async () => {
          const unpacked = String(await promisify(gunzip)(packed))
          const first = await readFile(join(folder, '0.txt'), 'utf8')
          if (!unpacked.startsWith(first)) throw new Error('archive differs from its files')
        })
        if (i % 7 === 6)
          await step('list-manifest', () => stat(join('/var/lib/stepwell-demo', `manifest-${i}.json`)))
        t.set({ sha256: createHash('sha256').update(packed).digest('hex').slice(0, 12) })
      } finally {
        await step('clean-up', () => rm(folder, { recursive: true }))
      }
    },
  )
}

/** Child processes, nested; every fourth run compiles a program that is wrong. */
async function build(i: number): Promise<void> {
  await tracer.trace(
    'build',
    { executionId: `build-${i}`, metadata: { branch: i % 3 === 0 ? 'main' : 'next' } },
    async () => {
      const folder = await mkdtemp(join(tmpdir(), 'stepwell-demo-'))
      try {
        const program = join(folder, 'program.mjs')
        await step('checkout', () =>
          writeFile(program, i % 4 === 3 ? 'const answer = ;' : 'export const answer = 42'),
        )
        await step('compile', async () => {
          await step('check-syntax', () =>
            command(process.execPath, '--check', program).catch((error: Error) => {
              throw /SyntaxError/.test(error.message)
                ? error
                : new Error(`SyntaxError in program.mjs: ${error.message}`)
            }),
          )
          await step('pack', () =>
            command('tar', '-czf', join(folder, 'out.tgz'), '-C', folder, 'program.mjs'),
          )
        })
      } finally {
        await rm(folder, { recursive: true })
      }
    },
  )
}

/** HTTP on loopback; some calls go where nobody listens, some answers are cut off, some take too long. */
async function callService(i: number, ports: { open: number; closed: number }): Promise<void> {
  await tracer.trace(
    'call-service',
    { executionId: `call-${i}`, metadata: { region: i % 2 === 0 ? 'eu' : 'us' } },
    async () => {
      const url = `http://127.0.0.1:${i % 8 === 5 ? ports.closed : ports.open}/${i}`
      const response = await step('request', { attributes: { 'http.method': 'GET' } }, async (s) => {
        const answer = await fetch(url, { signal: AbortSignal.timeout(120) }).catch((error: Error) => {
          // What fetch itself says is no help: `fetch failed`.
          throw error.cause instanceof Error ? error.cause : error
        })
        s.set({ 'http.status': answer.status })
        return answer
      })
      await step('decode', async () => JSON.parse(await response.text()))
    },
  )
}

/** Queries on the demo's Postgres; every tenth asks for a table that is not there. */
async function report(i: number, client: pg.Client): Promise<void> {
  await tracer.trace(
    'monthly-report',
    { executionId: `report-${i}`, metadata: { month: 1 + (i % 12) } },
    async () => {
      const { rows } = await step('aggregate', (s) => {
        s.set({ 'db.system': 'postgresql' })
        const table =
          i % 10 === 9 ? `invoices_${2030 + (i % 3)}` : `generate_series(1, ${20_000 * (1 + (i % 4))}) as n`
        return client.query(`select count(*) as n from ${table}`)
      })
      await step('render', async () => `rows: ${rows[0].n}`)
    },
  )
}

/** A run over several processes: it builds, and hands the rest to a process that continues the same trace. */
async function release(): Promise<void> {
  await tracer.trace('release', { executionId: 'release-1', metadata: { version: '1.0.0' } }, async (t) => {
    await t.step('tests', (s) =>
      Promise.all([s.step('unit', () => build(101)), s.step('integration', () => build(102))]),
    )
    await t.step('publish', async (s) => {
      const child = await run(process.execPath, [new URL(import.meta.url).pathname, 'publisher'], {
        env: { ...process.env, STEPWELL_TRACE_CONTEXT: JSON.stringify(s.context()) },
      })
      process.stderr.write(child.stderr)
      publisher = JSON.parse(child.stdout)
    })
    await t.step('announce', () => new Promise((resolve) => setTimeout(resolve, 40)))
  })
}
let publisher = { emitted: 0, sent: 0 }

/** The other process of a release. */
async function publish(): Promise<void> {
  await using remote = tracer.attach(JSON.parse(process.env.STEPWELL_TRACE_CONTEXT ?? '{}'))
  await remote.step('upload', async (s) => {
    const bytes = await s.step('compress', () => promisify(gzip)(Buffer.alloc(4_000_000, 'x')))
    s.set({ bytes: bytes.length })
    await s.step('checksum', async () => createHash('sha512').update(bytes).digest('hex'))
  })
}

/** Work without an end: the demo kills this process in the middle of it. */
async function doomed(): Promise<void> {
  await tracer.trace(
    'train-model',
    { executionId: `train-${number}`, metadata: { epochs: 1_000 } },
    async (t) => {
      const folder = join(tmpdir(), `stepwell-demo-model-${process.pid}`)
      await step('load-data', () =>
        mkdir(folder, { recursive: true }).then(() => rm(folder, { recursive: true })),
      )
      await step('epoch-1', async () => createHash('sha256').update(Buffer.alloc(8_000_000)).digest())
      await t.step('epoch-2', async (s) => {
        s.step('forward', async () => createHash('sha256').update(Buffer.alloc(4_000_000)).digest())
        await tracer.flush()
        process.stdout.write('in the middle\n')
        for (;;) {
          createHash('sha256').update(Buffer.alloc(1_000_000)).digest()
          await new Promise((resolve) => setTimeout(resolve, 50))
        }
      })
    },
  )
}

function listen(server: Server): Promise<number> {
  return new Promise((resolve) => {
    server.listen(0, '127.0.0.1', () => resolve((server.address() as AddressInfo).port))
  })
}

async function callServices(): Promise<void> {
  const server = createServer((request, response) => {
    const i = Number(request.url?.slice(1))
    const answer = i % 11 === 4 ? '{"answer": 4' : '{"answer": 42}'
    setTimeout(() => response.end(answer), i % 25 === 24 ? 400 : i % 6)
  })
  // A port that nobody listens on any more.
  const gone = createServer()
  const closed = await listen(gone)
  await new Promise((resolve) => gone.close(resolve))
  const ports = { open: await listen(server), closed }
  for (let i = 0; i < 160; i += 2)
    await Promise.all([attempt(callService(i, ports)), attempt(callService(i + 1, ports))])
  server.close()
  server.closeAllConnections()
}

async function reports(): Promise<void> {
  const client = new pg.Client({ connectionString: process.env.DATABASE_URL })
  await client.connect()
  for (let i = 0; i < 60; i++) await attempt(report(i, client))
  await client.end()
}

const ROLES: Record<string, () => Promise<void>> = {
  files: async () => {
    for (let i = 0; i < 60; i++) await attempt(archive(i))
  },
  builds: async () => {
    for (let i = 0; i < 40; i++) await attempt(build(i))
  },
  calls: callServices,
  reports,
  release,
  publisher: publish,
  doomed,
}

const work = ROLES[role]
if (work === undefined) throw new Error(`usage: demo-producer.ts ${Object.keys(ROLES).join('|')}`)
await work()
const { emitted, sent } = await tracer.close({ timeoutMs: 10_000 })
process.stdout.write(JSON.stringify({ emitted: emitted + publisher.emitted, sent: sent + publisher.sent }))
