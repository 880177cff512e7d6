import { execFile, spawn } from 'node:child_process'
import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { delimiter, dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { type TestDatabase, waitFor } from '@stepwell/testkit'
import { createDatabase, redisForFile } from '@stepwell/testkit/vitest'
import pg from 'pg'
import { publint } from 'publint'
import { formatMessage } from 'publint/utils'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { type PackedPackages, PUBLISHED, packPackages } from './packed-packages.ts'

// The packages as a stranger gets them: packed, installed into an empty folder outside of the workspace, used as the README says.

const run = promisify(execFile)
const root = fileURLToPath(new URL('..', import.meta.url))

let packed: PackedPackages
/** The stranger's folder. */
let folder: string
let database: TestDatabase
let environment: NodeJS.ProcessEnv

beforeAll(async () => {
  packed = await packPackages()
  folder = await mkdtemp(join(tmpdir(), 'stepwell-stranger-'))
  const [redis, empty] = await Promise.all([redisForFile(), createDatabase({ empty: true })])
  database = empty
  // Without the workspace's programs; Node is the one that runs this test.
  const path = (process.env.PATH ?? '').split(delimiter).filter((one) => !one.startsWith(root))
  // What npm sets for its scripts would lead back to the workspace; where its registry is stays.
  const foreign =
    /^(REDIS_URL|DATABASE_URL|STEPWELL_.*|NODE_OPTIONS|VITEST.*|npm_(?!config_(registry|cache|userconfig|.*proxy|.*ca.*)$).*)$/i
  const inherited = Object.entries(process.env).filter(([name]) => !foreign.test(name))
  environment = {
    ...Object.fromEntries(inherited),
    PATH: [dirname(process.execPath), ...path].join(delimiter),
    REDIS_URL: redis,
    DATABASE_URL: database.url,
    STEPWELL_LOG_LEVEL: 'warn',
  }
  await writeFile(join(folder, 'package.json'), '{ "name": "stranger", "private": true }\n')
  const registry = ['ioredis@6', 'typescript@5.9', '@types/node@24']
  const options = ['--no-audit', '--no-fund', '--prefer-offline', '--loglevel=error']
  await run('npm', ['install', ...options, ...packed.tarballs.values(), ...registry], {
    cwd: folder,
    env: environment,
    timeout: 120_000,
  })
}, 180_000)
afterAll(async () => {
  await database?.drop()
  await rm(folder, { recursive: true, force: true })
  await packed?.[Symbol.asyncDispose]()
})

const names = Object.keys(PUBLISHED)

test.each(names)(
  '%s is packed as publint and arethetypeswrong want it, without development code',
  async (name) => {
    const tarball = packed.tarballs.get(name) as string
    const bytes = readFileSync(tarball)
    const buffer = bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.byteLength) as ArrayBuffer
    const { messages, pkg } = await publint({ pack: { tarball: buffer }, strict: true })
    expect(messages.map((message) => formatMessage(message, pkg))).toEqual([])
    // ESM that CommonJS can require: its profile for that leaves out the resolution of before Node 20.
    await run('attw', [tarball, '--profile', 'esm-only', '--quiet'], { cwd: root })
    const { stdout } = await run('tar', ['tzf', tarball])
    const files = stdout.trim().split('\n')
    expect(files).toEqual(
      expect.arrayContaining(['package/LICENSE', 'package/README.md', 'package/package.json']),
    )
    expect(
      files.filter(
        (file) => !/^package\/(LICENSE|README\.md|package\.json|dist\/.*\.(js|d\.ts))$/.test(file),
      ),
    ).toEqual([])
    expect(files.filter((file) => /test|\.ts\.|spec|fixture/.test(file.replace('/testing.', '/')))).toEqual(
      [],
    )
    const manifest = JSON.parse(await readFile(join(folder, 'node_modules', name, 'package.json'), 'utf8'))
    expect(JSON.stringify([manifest.dependencies, manifest.peerDependencies])).not.toMatch(/workspace:|\*"/)
    expect(manifest).toMatchObject({ license: 'MIT', type: 'module', description: expect.any(String) })
  },
)

/** The blocks of code of the README's quickstart, in their order. */
function quickstart(language: 'sh' | 'js'): string[] {
  const readme = readFileSync(join(root, 'README.md'), 'utf8')
  const [, rest = ''] = readme.split('## Quickstart\n')
  const [section = ''] = rest.split('\n## ')
  return [...section.matchAll(new RegExp(`^\`\`\`${language}\\n([\\s\\S]*?)^\`\`\``, 'gm'))].map(
    ([, code = '']) => code,
  )
}

async function storedTraces(): Promise<number> {
  const client = new pg.Client({ connectionString: database.url })
  await client.connect()
  const { rows } = await client.query('select count(*) n from execution_traces')
  await client.end()
  return Number(rows[0].n)
}

async function output(command: string, args: string[]): Promise<string> {
  return (await run(command, args, { cwd: folder, env: environment })).stdout
}

test('the quickstart of the README runs as it stands there: migrate, worker, producer, query, command line', async () => {
  const [setUp = '', use = ''] = quickstart('sh')
  const [producer = '', ask = ''] = quickstart('js')
  await writeFile(join(folder, 'producer.mjs'), producer)
  await writeFile(join(folder, 'ask.mjs'), ask)
  // Installed are the tarballs already, and the servers are those of this test.
  const lines = setUp.split('\n').filter((line) => !/^(npm install|export) /.test(line))
  expect(setUp.match(/@stepwell\/\w+/g)?.every((name) => names.includes(name))).toBe(true)
  const shell = spawn('bash', ['-ec', `${lines.join('\n')}\nwait`], {
    cwd: folder,
    env: { ...environment, STEPWELL_LOG_LEVEL: 'info' },
    detached: true,
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  let told = ''
  for (const stream of [shell.stdout, shell.stderr])
    stream.setEncoding('utf8').on('data', (text: string) => {
      told += text
    })
  try {
    await waitFor(() => told.includes('worker reads'), { what: 'the worker reads' })
    expect(told).toMatch(/^migrations: 0001_execution_traces/m)
    const [runProducer = '', runAsk = '', ...shown] = use
      .trim()
      .split('\n')
      .map((line) => line.replace(/#.*/, '').trim())
    expect(await output('bash', ['-c', runProducer])).toMatch(/deploy: fetch failed[\s\S]*dropped: \{\}/)
    await waitFor(async () => (await storedTraces()) === 2, {
      what: 'both traces are stored',
    })
    const answer = await output('bash', ['-c', runAsk])
    expect(answer).toMatch(/^docker-build success [\d.]+ ms$/m)
    expect(answer).toMatch(/^deploy fetch failed$/m)
    expect(answer).toContain("digest: 'sha256:1234'")
    expect(shown).toHaveLength(2)
    for (const command of shown) expect(await output('bash', ['-c', command])).toMatch(/docker-build/)
  } finally {
    process.kill(-(shell.pid as number), 'SIGTERM')
    await once(shell, 'close')
  }
})

test('CommonJS requires it, and every entry', async () => {
  const entries = [
    '@stepwell/protocol',
    '@stepwell/protocol/failures',
    '@stepwell/protocol/statistics',
    '@stepwell/protocol/schema',
    '@stepwell/client',
    '@stepwell/client/testing',
    '@stepwell/client/bullmq',
    '@stepwell/client/http',
    '@stepwell/storage',
    '@stepwell/query',
    '@stepwell/worker',
  ]
  const [producer = '', ask = ''] = quickstart('js')
  const asCommonJs = (code: string): string =>
    `${code.replace(/^import (\{[^}]*\}) from ('[^']+')/gm, 'const $1 = require($2)').replace(/^(const .*require.*)$/gm, '$1;')}`
  for (const [name, code] of [
    ['producer', producer],
    ['ask', ask],
  ] as const) {
    const [imports, ...rest] = asCommonJs(code).split('\n\n')
    await writeFile(join(folder, `${name}.cjs`), `${imports}\n;(async () => {\n${rest.join('\n\n')}\n})()\n`)
  }
  await writeFile(
    join(folder, 'entries.cjs'),
    `for (const name of ${JSON.stringify(entries)}) console.log(name, Object.keys(require(name)).length > 0)\n`,
  )
  expect(await output('node', ['entries.cjs'])).toBe(entries.map((name) => `${name} true\n`).join(''))
  await output('npx', ['stepwell', 'migrate'])
  expect(await output('node', ['producer.cjs'])).toMatch(/dropped: \{\}/)
  expect(await output('node', ['ask.cjs'])).toBeDefined()
})

test('TypeScript takes it, strict and with skipLibCheck off, from ESM and from CommonJS', async () => {
  const [producer = '', ask = ''] = quickstart('js')
  await writeFile(join(folder, 'producer.mts'), producer)
  await writeFile(join(folder, 'ask.mts'), ask)
  await writeFile(
    join(folder, 'more.cts'),
    `import { memorySink, type MemorySink } from '@stepwell/client/testing'
import { ExecutionTracer, TraceRecorder, type TraceHandle } from '@stepwell/client'
import { TraceStorage, migrateToLatest } from '@stepwell/storage'
import { TraceQuery, type TraceSummary } from '@stepwell/query'
import { createWorker, type StepwellWorker } from '@stepwell/worker'
import { decodeFrame } from '@stepwell/protocol/schema'
import { assemble } from '@stepwell/protocol'
import { Redis } from 'ioredis'

export async function all(): Promise<number> {
  const sink: MemorySink = memorySink()
  const tracer = new ExecutionTracer({ sink })
  const lent = new ExecutionTracer({ redis: new Redis(), redact: { keys: ['email', /^x-/], replace: (text) => text } })
  const length: number = await tracer.trace('a', async (t: TraceHandle) => t.step('b', async (s) => s.traceId.length))
  new TraceRecorder(tracer).recordStep('x', 1)
  await migrateToLatest({ connectionString: 'postgres://x' })
  const storage = new TraceStorage({ host: 'h', port: 1, database: 'd', user: 'u' })
  const worker: StepwellWorker = await createWorker({ redis: new Redis(), database: 'postgres://x' })
  const query = new TraceQuery('postgres://x')
  const traces: TraceSummary[] = await query.queryBySkill('x')
  for await (const trace of query.findTraces({ status: ['failed', 'timeout'] })) traces.push(trace)
  await Promise.all([storage.close(), worker.close(), query.close(), lent.close()])
  return length + traces.length + Object.keys({ decodeFrame, assemble }).length
}
`,
  )
  const options = {
    compilerOptions: {
      module: 'nodenext',
      target: 'es2022',
      lib: ['es2023', 'esnext.disposable'],
      types: ['node'],
      strict: true,
      skipLibCheck: false,
      noEmit: true,
    },
    files: ['producer.mts', 'ask.mts', 'more.cts'],
  }
  await writeFile(join(folder, 'tsconfig.json'), JSON.stringify(options))
  const compiled = await run('npx', ['tsc', '-p', '.'], { cwd: folder, env: environment }).catch(
    (error: { stdout: string }) => error,
  )
  expect(compiled.stdout).toBe('')
})
