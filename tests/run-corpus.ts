import { readFileSync } from 'node:fs'

/** A run as it stands in a line of NDJSON: what is unknown is absent. */
export interface Run {
  skill_name: string
  execution_id?: string
  started_at: string
  completed_at?: string
  total_duration_ms?: number
  status: 'running' | 'success' | 'failed' | 'timeout'
  error_message?: string
  metadata?: Record<string, unknown>
  steps: RunStep[]
}

interface RunStep {
  name: string
  timestamp?: string
  duration_ms: number
  status: 'success' | 'failed'
  error_message?: string
}

/** The runs of a file. */
export function readRuns(file: string): Run[] {
  return readFileSync(file, 'utf8')
    .split('\n')
    .filter((line) => line.trim() !== '')
    .map((line) => JSON.parse(line) as Run)
}

/**
 * Runs with what real ones have: repeated step names, steps that overlap or start before their run, no times at all, runs that are
 * still running, unordered steps, deep metadata, every alphabet, huge and empty messages. The same for the same seed.
 */
export function generateRuns(count: number, seed: number): Run[] {
  const random = mulberry32(seed)
  const pick = <T>(items: readonly T[]): T => items[Math.floor(random() * items.length)] as T
  const maybe = <T>(share: number, value: () => T): T | undefined => (random() < share ? value() : undefined)
  const text = (): string =>
    pick(['timeout', 'Ünïcode ☃ 🚀', 'line\nbreak\ttab', '"quotes" \\back', 'x'.repeat(3_000), "it's", ' '])
  const newest = Date.UTC(2026, 9, 31)
  return Array.from({ length: count }, (_, i) => {
    const startedAtMs = newest - Math.floor(random() * 120 * 86_400_000)
    const stepCount = pick([0, 1, 3, 10, 40, i % 50 === 0 ? 2_000 : 5])
    const hasTimes = random() < 0.8
    const run: Run = {
      skill_name: pick(['ci.build', 'agent.qa', 'étl', 'swe-agent', `skill-${i % 30}`]),
      started_at: new Date(startedAtMs).toISOString(),
      status: pick(['success', 'success', 'failed', 'timeout', 'running']),
      steps: Array.from({ length: stepCount }, (): RunStep => {
        const failed = random() < 0.1
        return {
          name: pick(['think', 'act', 'tool_call', 'mypy (3.10)', 'Build & inspect', text().slice(0, 200)]),
          duration_ms: pick([0, 1, 0.125, Math.floor(random() * 600_000)]),
          status: failed ? 'failed' : 'success',
          ...(hasTimes && random() < 0.9
            ? { timestamp: new Date(startedAtMs + Math.floor((random() - 0.1) * 900_000)).toISOString() }
            : {}),
          ...(failed && random() < 0.8 ? { error_message: text() } : {}),
        }
      }),
    }
    const optional = {
      execution_id: maybe(0.9, () => `${i}-${pick(['1', 'retry', 'Ω'])}`),
      metadata: maybe(0.9, () => ({
        source: 'generated',
        n: i,
        deep: { list: [1, null, { a: text() }], empty: {} },
        [text().slice(0, 20)]: true,
      })),
      ...(run.status === 'running'
        ? {}
        : {
            completed_at: maybe(0.5, () => new Date(startedAtMs + Math.floor(random() * 1e6)).toISOString()),
            total_duration_ms: maybe(0.5, () => Math.floor(random() * 1e6)),
            error_message: run.status === 'success' ? undefined : maybe(0.7, text),
          }),
    }
    return {
      ...run,
      ...Object.fromEntries(Object.entries(optional).filter(([, value]) => value !== undefined)),
    }
  })
}

function mulberry32(seed: number): () => number {
  let state = seed
  return () => {
    state = (state + 0x6d2b79f5) | 0
    let t = Math.imul(state ^ (state >>> 15), 1 | state)
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296
  }
}
