// A producer of the demo: skills that do real work on this machine, some of which fails. `demo-producer.ts <first|second>`.
import { execFile } from 'node:child_process'
import { createHash } from 'node:crypto'
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { createServer, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { gunzip, gzip } from 'node:zlib'
import { ExecutionTracer, step } from '@stepwell/client'

const [role] = process.argv.slice(2)
const run = promisify(execFile)
const tracer = new ExecutionTracer({ redis: process.env.REDIS_URL, service: `demo-${role}` })

/** Files written, packed, unpacked and compared. */
async function archive(i: number): Promise<void> {
  await tracer.trace(
    'archive-files',
    { executionId: `archive-${i}`, metadata: { files: 3 + (i % 5) } },
    async (t) => {
      const folder = await step('make-folder', () => mkdtemp(join(tmpdir(), 'stepwell-demo-')))
      try {
        const contents = await step('write-files', async () => {
          const texts = Array.from(
            { length: 3 + (i % 5) },
            (_, k) => `${k}: ${'some text '.repeat(2_000 * (k + 1))}`,
          )
          await Promise.all(texts.map((text, k) => writeFile(join(folder, `${k}.txt`), text)))
          return texts
        })
        const packed = await step('compress', async (s) => {
          const bytes = await promisify(gzip)(contents.join('\n'))
          s.set({
            bytes: bytes.length,
            ratio: Number((contents.join('\n').length / bytes.length).toFixed(1)),
          })
          return bytes
        })
        await step('verify', async () => {
          const unpacked = String(await promisify(gunzip)(packed))
          const first = await readFile(join(folder, '0.txt'), 'utf8')
          if (!unpacked.startsWith(first)) throw new Error('archive differs from its files')
        })
        t.set({ sha256: createHash('sha256').update(packed).digest('hex').slice(0, 12) })
      } finally {
        await step('clean-up', () => rm(folder, { recursive: true }))
      }
    },
  )
}

/** Child processes: one computes, every fourth run's second one fails. */
async function build(i: number): Promise<void> {
  await tracer.trace('build', { executionId: `build-${i}` }, async () => {
    await step('toolchain', () => run(process.execPath, ['--version']))
    await step('compile', async () => {
      await step('parse', () =>
        run(process.execPath, ['-e', 'JSON.parse(JSON.stringify([...Array(1e5).keys()]))']),
      )
      const program = i % 4 === 3 ? 'process.exitCode = 3' : 'let s = 0; for (let k = 0; k < 2e7; k++) s += k'
      await step('emit', () => run(process.execPath, ['-e', program]))
    })
  })
}

/** HTTP on loopback; every third call goes where nobody listens. */
async function callService(i: number, ports: { open: number; closed: number }): Promise<void> {
  await tracer.trace(
    'call-service',
    { executionId: `call-${role}-${i}`, metadata: { attempt: 1 } },
    async () => {
      const response = await step('request', { attributes: { 'http.method': 'GET' } }, async (s) => {
        const answer = await fetch(`http://127.0.0.1:${i % 3 === 2 ? ports.closed : ports.open}/${i}`).catch(
          (error: Error) => {
            // What fetch itself says is no help: `fetch failed`.
            throw error.cause instanceof Error ? error.cause : error
          },
        )
        s.set({ 'http.status': answer.status })
        return answer
      })
      // Every fifth answer is cut off.
      await step('decode', async () => JSON.parse(await response.text()))
    },
  )
}

function listen(server: Server): Promise<number> {
  return new Promise((resolve) => {
    server.listen(0, '127.0.0.1', () => resolve((server.address() as AddressInfo).port))
  })
}

/** A port that nobody listens on any more. */
async function closedPort(): Promise<number> {
  const server = createServer()
  const port = await listen(server)
  await new Promise((resolve) => server.close(resolve))
  return port
}

/** Quietly: the failures are what the demo shows afterwards. */
const attempt = (work: Promise<void>): Promise<void> => work.catch(() => {})

const server = createServer((request, response) => {
  response.end(Number(request.url?.slice(1)) % 5 === 4 ? '{"answer": 4' : '{"answer": 42}')
})
const ports = { open: await listen(server), closed: await closedPort() }

if (role === 'first') {
  // A run that both processes work on: the second one finds it by its execution id.
  await tracer.trace('release', { executionId: 'release-1', metadata: { version: '1.0.0' } }, async (t) => {
    await t.step('tests', () => build(1))
    await t.step('wait-for-other', () => new Promise((resolve) => setTimeout(resolve, 1_500)))
  })
  for (let i = 0; i < 12; i++) await attempt(archive(i))
} else {
  const release = tracer.attach({ executionId: 'release-1' })
  await release.step('publish-elsewhere', () => run(process.execPath, ['-e', '']))
  for (let i = 0; i < 8; i++) await attempt(build(i))
}
for (let i = 0; i < 20; i++) await attempt(callService(i, ports))
server.close()
server.closeAllConnections()
process.stdout.write(JSON.stringify(await tracer.close({ timeoutMs: 10_000 })))
