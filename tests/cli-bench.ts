import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { Readable } from 'node:stream'
import { fileURLToPath } from 'node:url'
import type { TestDatabase } from '@stepwell/testkit'
import { createDatabase, redisForFile } from '@stepwell/testkit/vitest'
import { createWorker, type StepwellWorker, type WorkerOptions } from '@stepwell/worker'

/** What a command wrote: tests look into it, its shape is what they test. */
// biome-ignore lint/suspicious/noExplicitAny: see above.
export type Document = any

/** How a call of the command line ended. */
export interface CliEnd {
  code: number | null
  stdout: string
  stderr: string
}

/** A Redis, a database, a worker, and the command line for them. */
export interface CliBench extends AsyncDisposable {
  redisUrl: string
  database: TestDatabase
  worker: StepwellWorker
  /** Runs `stepwell` to its end. */
  stepwell(
    args: readonly string[],
    options?: { env?: Record<string, string>; input?: string | Iterable<string>; killAfter?: RegExp },
  ): Promise<CliEnd>
  /** The same with --json, which must end well and write one document. */
  json(...args: string[]): Promise<Document>
}

const main = fileURLToPath(new URL('../apps/cli/src/main.ts', import.meta.url))

/** Sets a bench up; `await using` takes it down. */
export async function makeCliBench(options: Partial<WorkerOptions> = {}): Promise<CliBench> {
  const [redisUrl, database] = await Promise.all([redisForFile(), createDatabase()])
  const worker = await createWorker({
    redis: redisUrl,
    database: database.url,
    migrate: false,
    ...options,
  })
  const stepwell: CliBench['stepwell'] = (args, { env = {}, ...options } = {}) =>
    runCli(args, { REDIS_URL: redisUrl, DATABASE_URL: database.url, ...env }, options)
  return {
    redisUrl,
    database,
    worker,
    stepwell,
    async json(...args) {
      const { code, stdout, stderr } = await stepwell([...args, '--json'])
      if (code !== 0) throw new Error(`stepwell ${args.join(' ')} ended with ${code}: ${stderr}`)
      return JSON.parse(stdout)
    },
    async [Symbol.asyncDispose]() {
      await worker.close()
      await database.drop()
    },
  }
}

/** Runs `stepwell` with this environment to its end, or until its output matches `killAfter`. */
export async function runCli(
  args: readonly string[],
  env: Readonly<Record<string, string>>,
  { input, killAfter }: { input?: string | Iterable<string>; killAfter?: RegExp } = {},
): Promise<CliEnd> {
  const child = spawn(process.execPath, [main, ...args], {
    env: { PATH: process.env.PATH, ...env },
    stdio: ['pipe', 'pipe', 'pipe'],
  })
  let stdout = ''
  let stderr = ''
  child.stdout.setEncoding('utf8').on('data', (text: string) => {
    stdout += text
    if (killAfter?.test(stdout) && !child.killed) child.kill('SIGINT')
  })
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    stderr += text
  })
  child.stdin.on('error', () => {})
  if (input === undefined || typeof input === 'string') child.stdin.end(input ?? '')
  else Readable.from(input).pipe(child.stdin)
  const [code] = (await once(child, 'close')) as [number | null]
  return { code, stdout, stderr }
}
