import { spawnSync } from 'node:child_process'
import { readdirSync, readFileSync, readlinkSync } from 'node:fs'

const OBEY_MS = 1000
const POLL_MS = 5
const SLEEPER = new Int32Array(new SharedArrayBuffer(4))
const procfs = process.platform === 'linux'

/** Whether a process runs. A zombie, ended but not yet collected by its parent, does not. */
export function isAlive(pid: number): boolean {
  if (procfs) return stat(pid)?.state !== undefined && stat(pid)?.state !== 'Z'
  try {
    process.kill(pid, 0)
    return true
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'EPERM'
  }
}

/** The direct children of a process. Postgres gives each of its backends a process group of its own. */
export function childrenOf(pid: number): number[] {
  if (!procfs) {
    const { stdout } = spawnSync('pgrep', ['-P', String(pid)], { encoding: 'utf8' })
    return stdout.split('\n').filter(Boolean).map(Number)
  }
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .map(Number)
    .filter((candidate) => stat(candidate)?.parent === pid)
}

/** Sends a signal to each of them; those that are gone do not matter. */
export function signalAll(pids: readonly number[], signal: NodeJS.Signals): void {
  for (const pid of pids) {
    try {
      process.kill(pid, signal)
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error
    }
  }
}

/**
 * Ends a process and its children and waits for it, without giving way to anything else.
 * The process gets the signal (paused ones are woken for it) and a second to obey; what is left then is killed.
 */
export function endTreeSync(pid: number, signal: NodeJS.Signals): void {
  const pids = [pid, ...childrenOf(pid)]
  signalAll(pids, 'SIGCONT')
  signalAll([pid], signal)
  const end = performance.now() + OBEY_MS
  while (pids.some(isAlive) && performance.now() < end) Atomics.wait(SLEEPER, 0, 0, POLL_MS)
  signalAll(pids.filter(isAlive), 'SIGKILL')
}

/** Whether a process works in this folder or below: a pid from a file may have been given to somebody else since. */
export function worksIn(pid: number, folder: string): boolean {
  try {
    if (procfs) return `${readlinkSync(`/proc/${pid}/cwd`)}/`.startsWith(`${folder}/`)
    const { stdout } = spawnSync('lsof', ['-a', '-p', String(pid), '-d', 'cwd', '-Fn'], { encoding: 'utf8' })
    return stdout.split('\n').some((line) => line.startsWith('n') && line.includes(folder))
  } catch {
    return false
  }
}

// The second field of /proc/<pid>/stat is the command in brackets and may hold anything, brackets too.
function stat(pid: number): { state: string | undefined; parent: number } | undefined {
  try {
    const text = readFileSync(`/proc/${pid}/stat`, 'utf8')
    const [state, parent] = text.slice(text.lastIndexOf(')') + 2).split(' ')
    return { state, parent: Number(parent) }
  } catch {
    return undefined
  }
}
