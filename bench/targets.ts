import type { Figure } from './harness.ts'

/** A promise about figures, and whether a value keeps it. */
export interface Target {
  what: string
  /** For people: `≤ 1/5`. */
  target: string
  /** Figures that it is about; where there are several, the worst counts. */
  figures: RegExp
  unit: string
  atMost?: number
  atLeast?: number
}

/** What is aimed at. Ratios hold on any machine; the others are for one with two cores. */
export const TARGETS: readonly Target[] = [
  {
    what: 'CPU of a recorded step, to OpenTelemetry with OTLP JSON',
    target: '≤ 1/5',
    figures: /^client\.flat(_attributes)?\.to_otlp_json$/,
    unit: '',
    atMost: 0.2,
  },
  {
    what: 'CPU of a nested `step(fn)`, to OpenTelemetry with OTLP JSON',
    target: '≤ 1/3',
    figures: /^client\.nested(_attributes)?\.to_otlp_json$/,
    unit: '',
    atMost: 1 / 3,
  },
  {
    what: 'CPU of a recorded step, to one JSON.stringify of its fields',
    target: '≤ 2',
    figures: /^client\.flat(_attributes)?\.to_stringify$/,
    unit: '',
    atMost: 2,
  },
  {
    what: 'one call with 1 KiB of attributes, p99.9',
    target: '≤ 20 µs',
    figures: /^calls\.(record_step|record_step_nested|step)\.p99\.9$/,
    unit: 'µs',
    atMost: 20,
  },
  {
    what: 'delay of timers added at 100,000 steps/s, p99',
    target: '≤ 2 ms',
    figures: /^calls\.timers_late\.added\.p99$/,
    unit: 'ms',
    atMost: 2,
  },
  {
    what: 'a call of a disabled tracer',
    target: '≤ 20 ns',
    figures: /^calls\.disabled\./,
    unit: 'ns',
    atMost: 20,
  },
  {
    what: 'ingest of short runs, of the floor’s traces/s',
    target: '≥ 60 %',
    figures: /^ingest\.short\.of_floor_upsert$/,
    unit: '',
    atLeast: 0.6,
  },
  {
    what: 'ingest of short runs, to one BullMQ job an event',
    target: '≥ 20 times',
    figures: /^peers\.to_bullmq_per_event$/,
    unit: '',
    atLeast: 20,
  },
  {
    what: 'ingest of long runs, every step alone, of the short runs’ events/s',
    target: '≥ 30 %',
    figures: /^ingest\.long\.of_short$/,
    unit: '',
    atLeast: 0.3,
  },
  {
    what: 'latency to Postgres at 50 % load, p99',
    target: '≤ 300 ms',
    figures: /^latency\.postgres_at_50\.p99$/,
    unit: 'ms',
    atMost: 300,
  },
  {
    what: 'latency to the live tail at 50 % load, p99',
    target: '≤ 150 ms',
    figures: /^latency\.tail_at_50\.p99$/,
    unit: 'ms',
    atMost: 150,
  },
  {
    what: 'a 10-step trace in Postgres, all indexes',
    target: '≤ 850 bytes',
    figures: /^storage\.(short|failing|long)\.ingested$/,
    unit: 'bytes',
    atMost: 850,
  },
  {
    what: 'memory of a worker at full load',
    target: '≤ 250 MB',
    figures: /^memory\.worker\.peak$/,
    unit: 'MB',
    atMost: 250,
  },
  {
    what: 'pending, lag and open traces after the drain',
    target: '0',
    figures: /^memory\.drained\.(pending|lag|open)$/,
    unit: '',
    atMost: 0,
  },
  {
    what: 'streams after the drain, within the live window',
    target: '≤ 64 MiB',
    figures: /^memory\.drained\.stream$/,
    unit: 'MB',
    atMost: 67.1,
  },
  {
    what: 'CPU of a trace with ten times as many stored',
    target: '± 15 %',
    figures: /^growth\.stored\.\d+0000\.cpu_to_\d+0000$/,
    unit: '',
    atMost: 1.15,
  },
  {
    what: 'ten similar failures of a million, 100,000 messages, with `intarray`, p95 of the slowest form',
    target: '≤ 25 ms',
    figures: /^similar\.intarray\.(frequent|any|changed|words|window|until|skill)\.p95$/,
    unit: 'ms',
    atMost: 25,
  },
  {
    what: 'ten similar failures of a million, 100,000 messages, without extensions, p95 of the slowest form',
    target: '≤ 120 ms',
    figures: /^similar\.plain\.(frequent|any|changed|words|window|until|skill)\.p95$/,
    unit: 'ms',
    atMost: 120,
  },
  {
    what: 'a trace by its id, p95',
    target: '≤ 3 ms',
    figures: /^query\.by_id\.p95$/,
    unit: 'ms',
    atMost: 3,
  },
  {
    what: 'searches, p95 of the slowest',
    target: '≤ 20 ms',
    figures:
      /^query\.(newest|by_\w*skill_30_days|failed\w*|by_user|\w+_of_skill|slow\w*|\w*metadata\w*|by_step|children)\.p95$/,
    unit: 'ms',
    atMost: 20,
  },
  {
    what: 'statistics of a skill, or of its steps, over 30 days, whole or by day; p95 of the slowest',
    target: '≤ 20 ms',
    figures: /^query\.(stats|steps)_of_skill_30_days\w*\.p95$/,
    unit: 'ms',
    atMost: 20,
  },
  {
    what: 'statistics of all skills over 30 days, whole or by day, and a list of skills; p95 of the slowest',
    target: '≤ 20 ms',
    figures: /^query\.(stats_of_all_30_days\w*|skills_7_days)\.p95$/,
    unit: 'ms',
    atMost: 20,
  },
]

/** The worst of the figures that a target is about, or undefined if none was measured; whether it is kept. */
export function judge(
  target: Target,
  figures: readonly Figure[],
): { seen: number; isMet: boolean } | undefined {
  const values = figures.filter(({ name }) => target.figures.test(name)).map(({ value }) => value)
  if (values.length === 0) return undefined
  const seen = target.atLeast === undefined ? Math.max(...values) : Math.min(...values)
  return { seen, isMet: seen <= (target.atMost ?? seen) && seen >= (target.atLeast ?? seen) }
}
