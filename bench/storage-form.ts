import type { BenchContext, Figure } from './harness.ts'

const TRACES = 20_000

const FORMS: Record<string, { type: 'json' | 'jsonb'; encode: (step: GeneratedStep) => unknown }> = {
  jsonb_objects: {
    type: 'jsonb',
    encode: (s) => ({
      name: s.name,
      timestamp: new Date(s.startMs + 1_764_000_000_000).toISOString(),
      duration_ms: s.durationMs,
      status: s.failed ? 'failed' : 'success',
      ...(s.failed ? { error_message: s.error } : {}),
    }),
  },
  jsonb_arrays: {
    type: 'jsonb',
    encode: (s) => [s.id, s.name, s.startMs, s.durationMs, Number(s.failed), s.failed ? s.error : null],
  },
  json_arrays: {
    type: 'json',
    encode: (s) =>
      s.failed
        ? [s.id, s.name, s.startMs, s.durationMs, 1, s.error]
        : [s.id, s.name, s.startMs, s.durationMs],
  },
}

interface GeneratedStep {
  id: number
  name: string
  startMs: number
  durationMs: number
  failed: boolean
  error: string
}

/** Bytes a 10-step trace takes in each form that steps could be stored in: docs/adr/0002-storage-form-of-steps.md. */
export async function storageForm({ pool }: BenchContext): Promise<Figure[]> {
  const results: Figure[] = []
  for (const [name, { type, encode }] of Object.entries(FORMS)) {
    await pool.query(`create table form_${name} (id int, steps ${type})`)
    let seed = 7
    const random = (): number => {
      seed = (seed * 1103515245 + 12345) % 2147483648
      return seed / 2147483648
    }
    for (let i = 0; i < TRACES; i += 500) {
      const rows = Array.from({ length: 500 }, () => JSON.stringify(generateSteps(random).map(encode)))
      await pool.query(`insert into form_${name} select 1, unnest($1::text[])::${type}`, [rows])
    }
    const { rows } = await pool.query(
      `select pg_total_relation_size('form_${name}') / ${TRACES}::float as bytes`,
    )
    results.push({
      name: `storage_form.${name}`,
      value: Math.round(rows[0].bytes),
      unit: 'bytes/trace',
    })
    await pool.query(`drop table form_${name}`)
  }
  return results
}

function generateSteps(random: () => number): GeneratedStep[] {
  let at = 0
  return Array.from({ length: 10 }, (_, i) => {
    const durationMs = Math.round(random() * 90_000) / 1000
    const step = {
      id: i + 1,
      name: `step-${i}`,
      startMs: Math.round(at * 1000) / 1000,
      durationMs,
      failed: random() < 0.01,
      error: 'connect ECONNREFUSED 127.0.0.1:6379',
    }
    at += durationMs
    return step
  })
}
