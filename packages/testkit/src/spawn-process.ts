import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Readable } from 'node:stream'
import { fileURLToPath } from 'node:url'
import { startReaper } from './reaper.ts'

const OUTPUT_MAX_LENGTH = 4 * 1024 * 1024

/** How a process ended: with a code, or by a signal. */
export interface ProcessEnd {
  code: number | null
  signal: NodeJS.Signals | null
}

/** A child process that runs one of our programs. `await using` kills it if it still runs. */
export interface SpawnedProcess extends AsyncDisposable {
  pid: number
  /** What it wrote so far; of more than 4 Mi characters the end. */
  stdout(): string
  stderr(): string
  /** Its end; never rejects. */
  exited: Promise<ProcessEnd>
  /** Sends a signal, default SIGTERM, and gives its end when it has come. */
  kill(signal?: NodeJS.Signals): Promise<ProcessEnd>
}

/**
 * Runs a .ts file under the same Node as this process, or another. The environment is ours without REDIS_URL, DATABASE_URL and STEPWELL_*
 * (a test must not reach a server that it did not name), plus `env`. It ends with this process at the latest.
 */
export function spawnProcess(
  file: string | URL,
  args: readonly string[] = [],
  env: Readonly<Record<string, string>> = {},
  node: string = process.execPath,
): SpawnedProcess {
  const path = file instanceof URL ? fileURLToPath(file) : file
  const child = spawn(node, [path, ...args], {
    env: { ...neutralEnvironment(), ...env },
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  const { pid } = child
  if (pid === undefined) throw new Error(`Could not start ${node} ${path}`)
  const stdout = collect(child.stdout)
  const stderr = collect(child.stderr)
  const reaper = startReaper()
  reaper.guard(pid, 'SIGKILL')
  // 'close' comes after the last output, 'exit' may come before it.
  const exited = once(child, 'close').then(([code, signal]): ProcessEnd => {
    reaper.dismiss()
    return { code, signal }
  })
  const kill = (signal: NodeJS.Signals = 'SIGTERM'): Promise<ProcessEnd> => {
    child.kill(signal)
    return exited
  }
  return {
    pid,
    stdout,
    stderr,
    exited,
    kill,
    [Symbol.asyncDispose]: async () => {
      await kill('SIGKILL')
    },
  }
}

function neutralEnvironment(): NodeJS.ProcessEnv {
  const ours = /^(REDIS_URL|DATABASE_URL|STEPWELL_.*)$/
  return {
    // A worker is up after 0.36 s of CPU instead of 0.62; suites start hundreds.
    NODE_COMPILE_CACHE: join(tmpdir(), 'stepwell-compiled'),
    ...Object.fromEntries(Object.entries(process.env).filter(([name]) => !ours.test(name))),
  }
}

function collect(stream: Readable): () => string {
  let text = ''
  stream.setEncoding('utf8')
  stream.on('data', (chunk: string) => {
    text = (text + chunk).slice(-OUTPUT_MAX_LENGTH)
  })
  return () => text
}
