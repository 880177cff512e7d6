// A server as a child process: down → starting → up ⇄ paused → down. `kill` and `shutDown` lead down and keep the data, `restart`
// up again; `stop` leads down for good and removes the folder. The child is detached, so that Ctrl-C reaches only us and the
// tests can still clean up after themselves; whatever way this process ends, a reaper ends the server after it.
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { closeSync, openSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import type { PostgresUser } from './postgres-binaries.ts'
import { childrenOf, endTreeSync, isAlive, signalAll } from './process-tree.ts'
import { type Reaper, startReaper } from './reaper.ts'
import { noteProcess, removeServerFolder } from './server-folder.ts'
import type { PrivateServer } from './service.ts'
import { waitFor } from './wait-for.ts'

const STOP_TIMEOUT_MS = 10_000
const LOG_TAIL = 15

type RunningProcess = ChildProcess & { pid: number }

/** What to run and how to tell that it works. */
export interface ServerProgram {
  /** For messages: 'Redis'. */
  name: string
  binary: string
  args: readonly string[]
  env?: NodeJS.ProcessEnv
  /** The user to run as, where root will not do. */
  user?: PostgresUser | undefined
  /** Holds log and pid, usually the data too; removed at the end. */
  folder: string
  /** Where the process works, in the end: by that a sweep knows it again. */
  workingFolder: string
  port: number
  url: string
  from: string
  /** The signal for an orderly shutdown. */
  stopSignal: NodeJS.Signals
  /** The signal that ends it at once without leaving anything in the system. */
  endSignal: NodeJS.Signals
  /** Asks the server whether it takes commands. */
  isReady(): Promise<boolean>
}

/** Starts a server and waits until it takes commands. Throws with the end of its log when it does not. */
export async function startLocalServer(program: ServerProgram): Promise<PrivateServer> {
  const server = new LocalServer(program)
  try {
    await server.restart()
    return server
  } catch (error) {
    await server.stop()
    throw error
  }
}

class LocalServer implements PrivateServer {
  readonly url: string
  readonly from: string
  readonly port: number
  readonly #program: ServerProgram
  readonly #reaper: Reaper
  #child: ChildProcess | undefined
  #stopped: Promise<void> | undefined

  constructor(program: ServerProgram) {
    this.#program = program
    this.#reaper = startReaper(program.folder)
    this.url = program.url
    this.from = program.from
    this.port = program.port
  }

  async restart(): Promise<void> {
    if (this.#stopped !== undefined) throw new Error(`${this.#program.name} was stopped for good`)
    await this.shutDown()
    const child = spawnServer(this.#program)
    this.#child = child
    if (isRunning(child)) {
      this.#reaper.guard(child.pid, this.#program.endSignal)
      child.once('exit', () => this.#reaper.release())
    }
    await becomesReady(this.#program, child)
  }

  async kill(): Promise<void> {
    const child = this.#running()
    if (child === undefined) return
    const pids = [child.pid, ...childrenOf(child.pid)]
    signalAll(pids, 'SIGKILL')
    await ended(child)
    // A backend of Postgres that outlives its postmaster keeps the data directory locked.
    await waitFor(() => !pids.some(isAlive), { what: `all processes of ${this.#program.name} end` })
  }

  async shutDown(): Promise<void> {
    const child = this.#running()
    if (child === undefined) return
    this.resume()
    child.kill(this.#program.stopSignal)
    const late = setTimeout(() => endTreeSync(child.pid, 'SIGKILL'), STOP_TIMEOUT_MS)
    await ended(child)
    clearTimeout(late)
  }

  pause(): void {
    const child = this.#running()
    if (child === undefined) return
    // The postmaster first: then no new backend can slip through.
    signalAll([child.pid], 'SIGSTOP')
    signalAll(childrenOf(child.pid), 'SIGSTOP')
  }

  resume(): void {
    const child = this.#running()
    if (child !== undefined) signalAll([child.pid, ...childrenOf(child.pid)], 'SIGCONT')
  }

  stop(): Promise<void> {
    this.#stopped ??= this.shutDown().then(() => {
      removeServerFolder(this.#program.folder)
      this.#reaper.dismiss()
    })
    return this.#stopped
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.stop()
  }

  #running(): RunningProcess | undefined {
    const child = this.#child
    return child !== undefined && isRunning(child) ? child : undefined
  }
}

function spawnServer(program: ServerProgram): ChildProcess {
  const { binary, args, env, user, folder, workingFolder, endSignal } = program
  const log = openSync(join(folder, 'log'), 'a')
  try {
    const child = spawn(binary, args, {
      cwd: workingFolder,
      env: { ...process.env, ...env },
      detached: true,
      stdio: ['ignore', log, log],
      ...user,
    })
    // Without a listener a missing binary would end the process; becomesReady sees that there is no pid.
    child.once('error', () => {})
    child.unref()
    if (child.pid !== undefined) noteProcess(folder, { pid: child.pid, workingFolder, endSignal })
    return child
  } finally {
    closeSync(log)
  }
}

async function becomesReady(program: ServerProgram, child: ChildProcess): Promise<void> {
  const { name, binary, port, folder } = program
  try {
    await waitFor(() => !isRunning(child) || program.isReady(), {
      what: `${name} takes commands on port ${port}`,
    })
    if (!isRunning(child)) throw new Error(`${name} (${binary}) ended at its start`)
  } catch (error) {
    throw new Error(`${(error as Error).message}\n${logTail(folder)}`, { cause: error })
  }
}

function isRunning(child: ChildProcess): child is RunningProcess {
  return child.pid !== undefined && child.exitCode === null && child.signalCode === null
}

async function ended(child: ChildProcess): Promise<void> {
  if (!isRunning(child)) return
  // Unref'd since its start: without this the process could end before the event.
  child.ref()
  await once(child, 'exit')
}

function logTail(folder: string): string {
  return readFileSync(join(folder, 'log'), 'utf8').trimEnd().split('\n').slice(-LOG_TAIL).join('\n')
}
