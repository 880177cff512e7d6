import { cpus, totalmem } from 'node:os'
import type { Services } from '@stepwell/testkit'
import type { Redis } from 'ioredis'
import type { Pool } from 'pg'

/** One measured number. Of several rounds the median, with the lowest and the highest. */
export interface Figure {
  /** What was measured, from the benchmark's name to the metric: `client.flat.stepwell.cpu`. */
  name: string
  value: number
  /** `µs`, `traces/s`; `ratio` compares what ran in turns in the same run. */
  unit: string
  low?: number
  high?: number
}

/** What a benchmark works with: servers of its own that keep what they acknowledge, Postgres migrated and empty. */
export interface BenchContext {
  services: Services
  redisUrl: string
  databaseUrl: string
  redis: Redis
  pool: Pool
  /** How much of the usual work to do: 1, or less for a quick look. */
  scale: number
  /** Rounds that count; one more before them warms up. */
  rounds: number
  /** How many traces to build, where a benchmark builds them; undefined: as many as it commonly does. */
  traces: number | undefined
  /** Says something that is no figure: a plan. */
  note(text: string): void
}

/** A benchmark: does its work and gives its numbers. */
export type Benchmark = (context: BenchContext) => Promise<Figure[]>

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

/** `count` times the scale of the run, but at least `least`. */
export const scaled = (count: number, scale: number, least = 1): number =>
  Math.max(least, Math.round(count * scale))
