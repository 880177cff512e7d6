import { mkdtempSync, readdirSync, readFileSync, realpathSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { endTreeSync, isAlive, worksIn } from './process-tree.ts'

// stepwell-<server>-<pid of the owner>-<random>. The name says whose it is, so that a folder needs no other record.
const NAME = /^stepwell-(redis|postgres)-(\d+)-/
const PROCESS_FILE = 'process.json'

/** The process that serves from a folder. */
export interface ServerProcess {
  pid: number
  /** Where it works: a number alone may have been given to somebody else since. */
  workingFolder: string
  /** What ends it at once without leaving anything in the system: after SIGKILL a Postgres leaves shared memory. */
  endSignal: NodeJS.Signals
}

/** Makes a folder for the data of a server that this process starts. */
export function makeServerFolder(server: 'redis' | 'postgres'): string {
  // Real, because a process tells its working directory without symbolic links (macOS: /var is one).
  return mkdtempSync(join(realpathSync(tmpdir()), `stepwell-${server}-${process.pid}-`))
}

/** Writes down which process serves from the folder, for whoever has to sweep. */
export function noteProcess(folder: string, server: ServerProcess): void {
  writeFileSync(join(folder, PROCESS_FILE), JSON.stringify(server))
}

/** Removes a folder of a server that has ended. */
export function removeServerFolder(folder: string): void {
  // A killed process can still be finishing a write: ENOTEMPTY is tried again.
  rmSync(folder, { recursive: true, force: true, maxRetries: 5 })
}

/**
 * Ends the servers and removes the folders of processes that are gone and that no reaper saw go. Gives the folders that were
 * removed. Another user's are left alone. Safe while others do the same.
 */
export function sweepLeftovers(): string[] {
  const parent = realpathSync(tmpdir())
  const left = readdirSync(parent).filter((name) => {
    const owner = NAME.exec(name)?.[2]
    return owner !== undefined && !isAlive(Number(owner))
  })
  return left.map((name) => join(parent, name)).filter(sweep)
}

function sweep(folder: string): boolean {
  try {
    endServerIn(folder)
    removeServerFolder(folder)
    return true
  } catch {
    // Another user's: it is for that user to sweep, and no reason not to start.
    return false
  }
}

function endServerIn(folder: string): void {
  const server = processOf(folder)
  if (server === undefined || !worksIn(server.pid, server.workingFolder)) return
  endTreeSync(server.pid, server.endSignal)
}

function processOf(folder: string): ServerProcess | undefined {
  try {
    return JSON.parse(readFileSync(join(folder, PROCESS_FILE), 'utf8')) as ServerProcess
  } catch {
    // Killed before it wrote one: then there is no server either, or one that no file names.
    return undefined
  }
}
