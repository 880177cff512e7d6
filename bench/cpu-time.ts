import { readdirSync, readFileSync } from 'node:fs'
import type { Redis } from 'ioredis'
import type { Pool } from 'pg'

// CPU of other processes is read from /proc, which only Linux has, to 10 ms; elsewhere, or for a server in a container, it is
// NaN. CPU of Redis is what it says itself.

const MS_PER_TICK = 10

/** Milliseconds of CPU that a process of this machine has used, with its children that have ended. */
export function processCpuMs(pid: number): number {
  const fields = statOf(pid)
  if (fields === undefined) return Number.NaN
  // Fields 14 to 17 of proc(5); what precedes is cut up to the state, the third.
  return fields.slice(11, 15).reduce((sum, ticks) => sum + Number(ticks), 0) * MS_PER_TICK
}

/** Milliseconds of CPU that Redis has used; without its children, which rewrite the append-only file now and then (docs/OPERATIONS.md has what that takes). */
export async function redisCpuMs(redis: Redis): Promise<number> {
  const info = await redis.info('cpu')
  const of = (name: string): number => Number(new RegExp(`^${name}:(.*)$`, 'm').exec(info)?.[1])
  return (of('used_cpu_sys') + of('used_cpu_user')) * 1_000
}

/** Milliseconds of CPU that all processes of Postgres have used. */
export async function postgresCpuMs(pool: Pool): Promise<number> {
  const { rows } = await pool.query<{ pid: number }>('select pg_backend_pid() as pid')
  const own = statOf(rows[0]?.pid ?? 0)
  if (own === undefined || !isPostgres(rows[0]?.pid ?? 0)) return Number.NaN
  const postmaster = Number(own[1])
  return [postmaster, ...childrenOf(postmaster)].reduce((sum, pid) => sum + (processCpuMs(pid) || 0), 0)
}

/** Most memory that a process of this machine has had resident at once, in bytes. */
export function peakRssBytes(pid: number): number {
  const peak = /^VmHWM:\s+(\d+) kB$/m.exec(readProc(pid, 'status') ?? '')?.[1]
  return peak === undefined ? Number.NaN : Number(peak) * 1_024
}

const isPostgres = (pid: number): boolean => readProc(pid, 'comm')?.trim() === 'postgres'

function childrenOf(parent: number): number[] {
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .map(Number)
    .filter((pid) => Number(statOf(pid)?.[1]) === parent)
}

// The name of the program, in parentheses, may hold spaces: what follows it is counted from the last one.
function statOf(pid: number): string[] | undefined {
  const text = readProc(pid, 'stat')
  return text?.slice(text.lastIndexOf(')') + 2).split(' ')
}

function readProc(pid: number, file: string): string | undefined {
  try {
    return readFileSync(`/proc/${pid}/${file}`, 'utf8')
  } catch {
    return undefined
  }
}
