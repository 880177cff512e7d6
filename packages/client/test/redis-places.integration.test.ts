import { type AddressInfo, createServer, type Socket } from 'node:net'
import { spawnProcess, startRedis, waitFor } from '@stepwell/testkit'
import { expect, test } from 'vitest'
import { ExecutionTracer } from '../src/index.ts'

const KINDS = ['cluster', 'sentinel'] as const
const urlOf = (kind: (typeof KINDS)[number], port: number): string =>
  `redis+${kind}://127.0.0.1:${port}${kind === 'sentinel' ? '/mymaster' : ''}`

async function listen(onSocket: (socket: Socket) => void): Promise<{ port: number; close(): void }> {
  const server = createServer((socket) => {
    socket.on('error', () => {})
    onSocket(socket)
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  return { port: (server.address() as AddressInfo).port, close: () => server.close() }
}

test.each(KINDS)('%s absent: nothing throws, and close keeps to its time', async (kind) => {
  const reports: string[] = []
  const tracer = new ExecutionTracer({
    redis: urlOf(kind, 1),
    report: ({ message }) => reports.push(message),
  })
  for (let i = 0; i < 10; i++) tracer.trace('absent', (t) => t.recordStep('x', 1))
  const startMs = performance.now()
  expect(await tracer.close({ timeoutMs: 300 })).toMatchObject({ sent: 0, dropped: { unsent: 30 } })
  expect(performance.now() - startMs).toBeLessThan(10_000)
  expect(reports).toEqual([expect.stringMatching(/unsent/)])
})

test.concurrent('a process ends by itself where cluster or sentinel are absent, or take connections and never answer', async () => {
  const silent = await listen(() => {})
  const urls = KINDS.flatMap((kind) => [urlOf(kind, 1), urlOf(kind, silent.port)])
  const startMs = performance.now()
  const programs = urls.map((url) => spawnProcess(new URL('./program.ts', import.meta.url), ['ends', url]))
  for (const program of programs) {
    expect(await program.exited).toEqual({ code: 0, signal: null })
    expect(program.stderr()).not.toMatch(/unhandled|Error/i)
  }
  expect(performance.now() - startMs).toBeLessThan(60_000)
  silent.close()
})

test.concurrent('a Redis that keeps the connection and does not answer is given up after 10 s, and tried again', async () => {
  await using server = await startRedis()
  const reports: string[] = []
  const tracer = new ExecutionTracer({ redis: server.url, report: ({ kind }) => reports.push(kind) })
  tracer.trace('before', () => {})
  await tracer.flush()
  server.pause()
  tracer.trace('during', () => {})
  await waitFor(() => reports.length > 0, { what: 'it is given up' })
  server.resume()
  expect(await tracer.flush({ timeoutMs: 60_000 })).toBe(true)
  expect(await tracer.close()).toEqual({ emitted: 4, sent: 4, buffered: 0, dropped: {} })
  expect(reports).toEqual(['trouble', 'recovered'])
})

test.each(KINDS)('a %s that comes late is tried again and again', async (kind) => {
  let connections = 0
  const refusing = await listen((socket) => {
    connections += 1
    socket.end('-ERR not yet\r\n')
  })
  const tracer = new ExecutionTracer({ redis: urlOf(kind, refusing.port), report: () => {} })
  await waitFor(() => connections >= 4, { what: 'further tries' })
  await tracer.close({ timeoutMs: 0 })
  refusing.close()
})
