import { cpus, totalmem } from 'node:os'
import type { Services } from '@stepwell/testkit'
import type { Pool } from 'pg'

/** One measured number. */
export interface Result {
  /** What was measured: `ingest.short_runs`. */
  name: string
  /** Of what: `events_per_second`. */
  metric: string
  value: number
  unit: string
}

/** What a benchmark works with: servers of its own, Postgres with fsync on, migrated and empty. */
export interface BenchContext {
  services: Services
  redisUrl: string
  databaseUrl: string
  pool: Pool
  /** How much of the usual work to do: 1, or less for a quick look. */
  scale: number
}

/** A benchmark: does its work and gives its numbers. */
export type Benchmark = (context: BenchContext) => Promise<Result[]>

/** The machine, as far as it matters for comparing. */
export function describeMachine(): Record<string, unknown> {
  const [cpu] = cpus()
  return {
    cpu: cpu?.model.trim() ?? 'unknown',
    cores: cpus().length,
    memory_gib: Math.round(totalmem() / 2 ** 30),
    node: process.version,
  }
}

/** The value below which `share` of the samples lie (nearest rank). */
export function percentile(samples: readonly number[], share: number): number {
  const sorted = [...samples].sort((a, b) => a - b)
  return sorted[Math.max(0, Math.ceil(sorted.length * share) - 1)] ?? Number.NaN
}

/** Three significant digits: more would be noise. */
export const round = (value: number): number => Number(value.toPrecision(3))
